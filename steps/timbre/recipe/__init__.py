"""What run.sh does, planned: where everything of a run goes, and what each stage makes of what. Called by stages/."""
