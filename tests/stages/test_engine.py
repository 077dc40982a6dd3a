"""The shell that run.sh is written in: options, and stages that run, skip, plan, fail and exclude each other."""

import os
import pty
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from toy_recipe import stages, start_saving


def test_runs_then_skips_then_runs_what_changed(toy, tmp_path: Path) -> None:
    assert [line.split(":")[1].split("(")[0] for line in stages(toy())] == [
        " running ",
        " done in 0",
        " running ",
        " done in 0",
    ]
    assert (tmp_path / "exp/toy/joined").read_text() == "a\na\n"
    assert (tmp_path / "exp/toy/log/1-join.log").read_text() == "to the log\n"
    up_to_date = ["stage 0 make: up to date", "stage 1 join: up to date"]
    assert stages(toy()) == up_to_date
    (tmp_path / "source").write_text("2")  # stage 0 makes the same again, so stage 1 has nothing to do
    assert stages(toy())[0] == "stage 0 make: running (source changed)"
    assert stages(toy()) == up_to_date
    assert stages(toy("--letter", "b"))[2] == "stage 1 join: running (data/x/file changed)"
    assert (tmp_path / "exp/toy/joined").read_text() == "b\nb\n"


def test_plan_changes_nothing(toy, tmp_path: Path) -> None:
    assert stages(toy("--plan")) == [
        "stage 0 make: would run (data/x/file does not exist)",
        "stage 1 join: would run (data/x/file would be made again)",
    ]
    assert sorted(os.listdir(tmp_path)) == ["saving.py", "source", "steps", "toy.sh"]
    toy()
    assert stages(toy("--plan", "--letter", "c")) == [
        "stage 0 make: would run (options changed: letter a, letter c)",
        "stage 1 join: would run (data/x/file would be made again)",
    ]
    assert (tmp_path / "exp/toy/joined").read_text() == "a\na\n"


def test_failure_names_stage_and_log_and_is_not_taken_for_done(toy) -> None:
    done = toy("--letter", "f")
    assert done.returncode == 1
    assert "stage 1 join failed (exit status 1); its log: exp/toy/log/1-join.log" in done.stderr
    assert stages(toy("--letter", "f", "--stop-stage", "0")) == ["stage 0 make: up to date"]
    assert "running (it has not run to its end)" in toy("--letter", "f").stdout


def is_running(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("name, status", [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_signal_to_run_sh_alone_ends_the_step_which_saves(toy, tmp_path: Path, name: str, status: int) -> None:
    process, step = start_saving(tmp_path)
    for _ in range(2):  # schedulers and torchrun send it twice
        process.send_signal(signal.Signals[name])
        time.sleep(0.3)
    assert process.communicate(timeout=20)[1] == (
        "run.sh: stopped in stage 1 join, whose log is exp/toy/log/1-join.log; the same command goes on\n"
    )
    assert process.returncode == status and not is_running(step)
    assert (tmp_path / "saved").exists() and (tmp_path / "again").exists()
    assert stages(toy("--letter", "t", "--plan"))[1] == "stage 1 join: would run (it has not run to its end)"


def test_ctrl_c_on_a_terminal(toy, tmp_path: Path) -> None:
    """The terminal is told once, and its bytes are read as a person would: the step and run.sh say a line each."""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        os.execvp("bash", ["bash", "toy.sh", "--letter", "t"])
    while not (tmp_path / "step").exists():
        time.sleep(0.05)
    os.write(terminal, b"\x03")
    said = b""
    while True:
        try:
            said += os.read(terminal, 10_000)
        except OSError:  # the other side is closed
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    lines = said.decode().replace("^C", "").split("\r\n")
    assert lines[-2].startswith("run.sh: stopped in stage 1 join") and "running" in lines[-3]
    assert (tmp_path / "saved").exists() and not (tmp_path / "again").exists(), "the step is told once"


def test_run_sh_killed_alone_leaves_nothing_running(toy, tmp_path: Path) -> None:
    process, step = start_saving(tmp_path)
    process.kill()
    done = toy()  # while the step saves
    process.wait()
    assert done.stderr == "" and "stage 1 join: done" in done.stdout
    assert (tmp_path / "saved").exists() and not is_running(step)


def test_shell_of_a_step_killed_alone_leaves_nothing_running(toy, tmp_path: Path) -> None:
    process, step = start_saving(tmp_path)
    os.kill(os.getpgid(step), signal.SIGKILL)  # the shell that the step was called by
    assert process.wait(20) == 137
    deadline = time.monotonic() + 10
    while is_running(step):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (tmp_path / "saved").exists()


def test_missing_input_and_force(toy, tmp_path: Path) -> None:
    done = toy("--stage", "1")
    assert done.returncode == 1 and "needs data/x/file, which does not exist: run the stages before it" in done.stderr
    toy()
    assert "running (--force)" in stages(toy("--force", "--stage", "1"))[0]


@pytest.mark.parametrize(
    "args, message",
    [
        (["--letters", "b"], "unknown option '--letters'; did you mean --letter? (./run.sh --help lists them)"),
        (["--fodler=b"], "unknown option '--fodler'; did you mean --folder?"),
        (["--zzz", "b"], "unknown option '--zzz' (./run.sh --help lists them)"),
        (["--number", "x"], "number takes a number, not 'x'"),
        (["--missing", "2.5"], "missing takes a number or a share such as 2%, not '2.5'"),
        (["--missing", "two%"], "missing takes a number or a share such as 2%, not 'two%'"),
        (["--letter"], "option --letter needs a value"),
        (["--quick=maybe"], "quick takes true or false, not 'maybe'"),
        (["stray"], "'stray' is not an option"),
        (["--config", "absent.conf"], "absent.conf: no such file"),
        (["--config", "bad.conf"], "bad.conf:2: unknown option 'lettre'; did you mean letter?"),
        (["--paper", "steps/stages/01_jion.sh"], "01_jion.sh: no such file; did you mean steps/stages/01_join.sh?"),
        (["--paper", "absent.txt"], "absent.txt: no such file"),
        (["--config", "evil.conf"], "evil.conf:1: expected some-option=value"),
    ],
)
def test_wrong_options_are_errors(toy, tmp_path: Path, args: list[str], message: str) -> None:
    (tmp_path / "bad.conf").write_text("letter=b\nlettre=c\n")
    (tmp_path / "evil.conf").write_text("touch owned\n")
    done = toy(*args)
    assert done.returncode == 1 and message in done.stderr
    assert not (tmp_path / "owned").exists() and not (tmp_path / "exp").exists()


def test_config_sets_and_command_line_wins(toy, tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("# a comment\nletter=$(touch owned)  # taken as it is\nname=other\n")
    toy("--name", "mine", "--quick", "--config", "a.conf")
    assert "letter=$(touch owned)\n" in (tmp_path / "exp/mine/settings.conf").read_text()
    assert "quick=true\n" in (tmp_path / "exp/mine/settings.conf").read_text()
    assert not (tmp_path / "owned").exists()
    assert "toy.sh" not in (tmp_path / "exp/mine/command").read_text()
    assert "--name mine --quick --config a.conf" in (tmp_path / "exp/mine/command").read_text()
    again = toy("--config", "exp/mine/settings.conf")
    assert stages(again) == ["stage 0 make: up to date", "stage 1 join: up to date"]


def test_relative_paths_are_those_of_the_caller(tmp_path: Path, toy) -> None:
    here, there = tmp_path / "else where", tmp_path
    for path in (
        here / "mine.txt",
        here / "conf" / "both.txt",
        there / "conf" / "both.txt",
        there / "conf" / "its.txt",
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    (there / "conf" / "set.conf").write_text("corpus-dir=voices\n")
    (here / "voices").mkdir()
    command = ["bash", "../toy.sh", "--config", "conf/set.conf", "--paper", "mine.txt"]
    command += ["--others", "'a=voices b=it'\\''s' c=/d"]

    def settings(*args: str) -> dict[str, str]:
        done = subprocess.run([*command, *args], cwd=here, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        lines = (there / "exp" / "toy" / "settings.conf").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    found = settings()
    assert found["paper"] == f"{here}/mine.txt" and found["folder"] == "exp" and found["corpus-dir"] == "voices"
    assert shlex.split(found["others"]) == [f"a={here}/voices b=it's", "c=/d"]
    assert settings("--paper=conf/both.txt")["paper"] == f"{here}/conf/both.txt"
    assert settings("--paper", "conf/its.txt")["paper"] == "conf/its.txt"
    assert settings("--corpus-dir", "voices")["corpus-dir"] == f"{here}/voices"
    assert settings("--corpus-dir=/a")["corpus-dir"] == "/a"
    command = ["bash", "toy.sh"]
    here = there
    assert settings("--corpus-dir", "a/b", "--others", "x='a b'")["corpus-dir"] == "a/b"
    assert "others=x='a b'" in (there / "exp" / "toy" / "settings.conf").read_text()


def test_help_lists_options_by_stage_with_their_defaults(toy) -> None:
    text = toy("--help").stdout
    assert text.startswith("Usage: toy") and "  --letter             the letter [a]" in text
    words = ["word " * 18 + "word", "word " * 10 + "word"]
    assert f"  --others             {words[0]}\n                       {words[1]}\n" in text
    assert max(map(len, text.splitlines())) <= 120
    assert "stage 0, make:\n  --quick              hurry [false]\n\nstage 1, join:\n" in text


@pytest.mark.parametrize("name", ["make", "0"])
def test_help_of_one_stage_says_what_it_does(toy, name: str) -> None:
    text = toy("--help", name).stdout
    assert text == (
        "Stage 0, make: writes the letter.\nIt does nothing else.\n\n  --quick              hurry [false]\n"
    )
    assert "--help mak: the stages are make join" in toy("--help", "mak").stderr


def test_plan_is_kept_as_a_table(toy, tmp_path: Path) -> None:
    toy()
    lines = (tmp_path / "exp/toy/plan.tsv").read_text().splitlines()
    assert lines[0].split("\t")[:4] == ["stage", "unit", "task", "set"]
    assert [line.split("\t")[11] for line in lines[1:]] == ["data/x", "data/y"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_exp(toy, tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir(mode=0o555)
    done = toy()
    assert done.returncode == 1 and "cannot make exp/toy" in done.stderr


def test_exp_that_is_a_file(toy, tmp_path: Path) -> None:
    (tmp_path / "exp").write_text("")
    done = toy()
    assert done.returncode == 1 and "cannot make exp/toy" in done.stderr


def test_several_gpus_begin_again_when_a_process_is_lost() -> None:
    """torch 2.11 hangs at that unless the variable is set."""
    script = """. steps/stages/engine.sh
    torchrun() { echo "$TORCH_DISABLE_SHARE_RDZV_TCP_STORE $*"; }
    ngpu=2 max_restarts=; launch steps/x.py a; max_restarts=4; launch steps/x.py b; ngpu=1; launch echo c"""
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "1 --standalone --nproc_per_node 2 --max-restarts 1 steps/x.py a",
        "1 --standalone --nproc_per_node 2 --max-restarts 4 steps/x.py b",
        "c",
    ]
