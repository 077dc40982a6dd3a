"""Corpora as they are published, in miniature: each function makes one in a folder; for miniatures.py."""

import json
from pathlib import Path
from typing import Any

import torch

from corpus_tree import audio, grow, plant, write
from timbre.corpora import published_trees as trees


def aishell1(path: Path) -> None:
    for part, speakers in (("train", "S0002 S0003"), ("dev", "S0724"), ("test", "S0764 S0765")):
        for spk in speakers.split():
            names = [f"data_aishell/wav/{part}/{spk}/BAC009{spk}W012{number}.wav" for number in range(2)]
            plant(path, *names)
    genders = "0002 F\n0003 M\n0724 F\n0764 F\n0765 F\n"
    write(path / "resource_aishell" / "speaker.info", genders)


def aishell2(path: Path) -> None:
    plant(path / "iOS" / "data" / "wav", *(f"{spk}/I{spk}W000{n}.wav" for spk in ("C0001", "D0001") for n in "12"))
    write(path / "iOS" / "data" / "spk_info.txt", "C0001\t23\t女\tNorth\nD0001\t31\t男\tSouth\n")
    for channel in ("iOS", "Android", "Mic"):
        for part, speakers in (("dev", ["D0012"]), ("test", ["T0011", "T0012"])):
            root = path / "AISHELL-DEV-TEST-SET" / channel / part / "wav"
            plant(root, *(f"{spk}/I{spk}W000{n}.wav" for spk in speakers for n in "12"))


def cnceleb(path: Path) -> None:
    names = ["singing-01-001", "singing-01-002", "singing-02-001", "vlog-01-001"]
    grow(path, trees.cnceleb(["id00000", "id00001"], ["id00800", "id00801"], ["id10000", "id10001"], names))


def librispeech(path: Path) -> None:
    parts = {"train-clean-100": "103 26", "test-clean": "61 121"}
    for part, speakers in parts.items():
        for spk in speakers.split():
            names = [f"{spk}/{chapter}/{spk}-{chapter}-000{n}.flac" for chapter in ("1240", "1241") for n in "01"]
            plant(path / "LibriSpeech" / part, *names)
            write(path / "LibriSpeech" / part / spk / "1240" / f"{spk}-1240.trans.txt", "x\n")
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME", "; a comment"]
    lines += [f"{spk:<4} | F | {part} | 25.03 | A | B" for part, speakers in parts.items() for spk in speakers.split()]
    write(path / "LibriSpeech" / "SPEAKERS.TXT", "\n".join(lines) + "\n")


def timit(path: Path) -> None:
    for part, speakers in (("TRAIN", ("FCJF0", "MDAC0")), ("TEST", ("FAKS0", "FDAC1"))):
        for spk in speakers:
            for name in ("SA1", "SI1027", "SX37"):
                plant(path / "TIMIT" / part / "DR1" / spk, f"{name}.WAV", kind="sph")
                write(
                    path / "TIMIT" / part / "DR1" / spk / f"{name}.PHN",
                    "0 300 h#\n300 700 sh\n700 1200 iy\n1190 1600 h#\n",
                )


def musan(path: Path) -> None:
    grow(path, trees.musan())


def rirs(path: Path) -> None:
    grow(path, trees.rirs())


def speechocean762(path: Path) -> None:
    root = path / "speechocean762"
    for part, speakers in (("train", ("0001", "0002")), ("test", ("0003", "0005"))):
        utts = [(f"0000{spk}{n}", spk) for spk in speakers for n in "01"]
        plant(root, *(f"WAVE/SPEAKER{spk}/{utt}.WAV" for utt, spk in utts))
        write(root / part / "wav.scp", "".join(f"{utt}\tWAVE/SPEAKER{spk}/{utt}.WAV\n" for utt, spk in utts))
        write(root / part / "utt2spk", "".join(f"{utt}\t{spk}\n" for utt, spk in utts))
        write(root / part / "spk2gender", "".join(f"{spk}\tm\n" for spk in speakers))
        write(root / part / "spk2age", "".join(f"{spk}\t6\n" for spk in speakers))


def sitw(path: Path) -> None:
    for part in ("dev", "eval"):
        root = path / part
        files = {"aaaaa": "AB", "bbbbb": "AB", "ccccc": "CD", "ddddd": "CD", "eeeee": "AB"}
        plant(root, *(f"audio/{name}.flac" for name in files), seconds=1.0)
        meta = "audio/{}.flac {} f video 60527{} 96 120 1 codec 3 interview laughter\n"
        write(root / "keys" / "meta.lst", "".join(meta.format(name, spk, spk == "CD") for name, spk in files.items()))
        write(root / "lists" / "enroll-core.lst", "10001 audio/aaaaa.flac\n10002 audio/ccccc.flac\n")
        write(
            root / "lists" / "enroll-assist.lst", "10001 audio/eeeee.flac 0.100 0.500\n20001 audio/ccccc.flac 0.5 0.9\n"
        )
        write(root / "lists" / "test-core.lst", "audio/bbbbb.flac\n")
        write(root / "lists" / "test-multi.lst", "audio/bbbbb.flac 1\naudio/ddddd.flac 2\n")
        enrolled = {"core": (("10001", "AB"), ("10002", "CD")), "assist": (("10001", "AB"), ("20001", "CD"))}
        for enroll, models in enrolled.items():
            for test, tests in (("core", ["bbbbb"]), ("multi", ["bbbbb", "ddddd"])):
                lines = [
                    f"{model} audio/{name}.flac {'tgt' if spk == files[name] else 'imp'}\n"
                    for model, spk in models
                    for name in tests
                ]
                write(root / "keys" / f"{enroll}-{test}.lst", "".join(lines))


def aidatatang(path: Path) -> None:
    for part, speakers in (("train", ("G0013", "G0014")), ("dev", ("G0002",)), ("test", ("G0003", "G0004"))):
        root = path / "aidatatang_200zh" / "corpus" / part
        plant(root, *(f"{spk}/T0055{spk}S000{n}.wav" for spk in speakers for n in "12"))
        for spk in speakers:
            write(root / spk / f"T0055{spk}S0001.trn", "x\n")


def magicdata(path: Path) -> None:
    rows = "SPKID\tAge\tGender\tDialect\n"
    for part, speakers in (("train", ("14_3466", "5_541")), ("dev", ("6_1",)), ("test", ("38_5837", "38_5838"))):
        text = "UtteranceID\tSpeakerID\tTranscription\n"
        for spk in speakers:
            files = [f"{spk}_2017082{day}171117.wav" for day in "67"]
            plant(path / part / spk, *files)
            text += "".join(f"{file}\t{spk}\t你 好\n" for file in files)
            rows += f"{spk}\t18\tfemale\the bei\n"
        write(path / part / "TRANS.txt", text)
    plant(path / "train" / "5_541", "5_541_20170101000000.wav")
    write(path / "metadata" / "SPKINFO.txt", rows)


def tal_csasr(path: Path) -> None:
    plant(path / "TAL_CSASR" / "cs_wav", "a/0001.wav", "a/0002.wav", "b/0003.wav")
    write(path / "TAL_CSASR" / "label", "0001 你好 hello\n0002 x\n")


def chime5(path: Path) -> None:
    for part, session, speakers in (
        ("train", "S03", ("P09", "P10")),
        ("dev", "S02", ("P05", "P06")),
        ("eval", "S01", ("P01", "P02")),
        ("eval", "S21", ("P01", "P02")),
    ):
        root = path / "CHiME5"
        entries: list[dict[str, Any]] = [{"words": "[redacted]", "start_time": {"original": "0:00:00.0"}}]
        for spk in speakers:
            (root / "audio" / part).mkdir(parents=True, exist_ok=True)
            (root / "audio" / part / f"{session}_{spk}.wav").write_bytes(audio("wav", 5.0, 2))
            for start in (0, 2):
                entries.append(
                    {
                        "speaker": spk,
                        "start_time": {"original": f"0:01:0{start}.50", spk: f"0:00:0{start}.50"},
                        "end_time": {"original": f"0:01:0{start + 1}.90", spk: f"0:00:0{start + 1}.90"},
                    }
                )
            entries.append({"speaker": spk, "start_time": "0:00:00.10", "end_time": "0:00:00.50"})
        write(root / "transcriptions" / part / f"{session}.json", json.dumps(entries))


def voices(path: Path) -> None:
    columns = "index,chapter,degrees,distractor,filename,gender,mic,query_name,room,segment,source,speaker,transcript"
    root = path / "VOiCES_devkit"
    for part, speakers in (("train", (32, 26)), ("test", (115, 118))):
        rows = [columns]
        for spk in speakers:
            for segment in (7, 8):
                for room in ("rm1", "rm2"):
                    name = f"Lab41-SRI-VOiCES-{room}-babb-sp{spk:04}-ch004137-sg{segment:04}-mc01-stu-clo-dg150"
                    file = f"distant-16k/speech/{part}/{room}/babb/sp{spk:04}/{name}.wav"
                    plant(root, file)
                    rows.append(f'0,4137,150,babb,{file},M,1,{name},{room},{segment},x,{spk},"a, b"')
        write(root / "references" / f"{part}_index.csv", "\n".join(rows) + "\n")


def commonvoice(path: Path) -> None:
    for language, clients in (("en", "abcde"), ("de", "fgba")):
        header = "client_id\tpath\tsentence\tup_votes\tage\tgender\n"
        lines = {}
        for index, client in enumerate(clients):
            clips = [f"common_voice_{language}_{client}{n}.mp3" for n in range(1 if client == "e" else 3)]
            plant(path / language / "clips", *clips)
            lines[client] = [f'{client * 128}\t{clip}\ta "b\t2\t\tfemale_feminine\n' for clip in clips]
            part = ("test", "test", "dev")[index] if language == "en" and index < 3 else ""
            part = ("test", "test")[index] if language == "de" and index < 2 else part
            if part:
                file = path / language / f"{part}.tsv"
                write(file, (file.read_text() if file.exists() else header) + lines[client][0])
        write(path / language / "validated.tsv", header + "".join(line for each in lines.values() for line in each))
    write(path / "de" / "dev.tsv", "client_id\tpath\n")


def ami(path: Path) -> None:
    nite = 'xmlns:nite="http://nite.sourceforge.net/"'
    meetings = {
        "ES2002a": {"A": "FEE005", "B": "MEE006"},
        "ES2003a": {"A": "MEE010", "B": "FEE012"},
        "ES2004a": {"A": "FEE013", "B": "FEE016"},
        "ES2004b": {"A": "FEE013", "B": "MEE006"},
    }
    text = ""
    for meeting, agents in meetings.items():
        text += f'<meeting observation="{meeting}">'
        for channel, (agent, spk) in enumerate(agents.items()):
            text += f'<speaker nxt_agent="{agent}" channel="{channel}" global_name="{spk}"/>'
            audio_dir = path / "amicorpus" / meeting / "audio"
            plant(audio_dir, f"{meeting}.Headset-{channel}.wav", seconds=5.0)
            spans = ((0.5, 1.9), (2.0, 2.0), (2.5, 2.75), (3, 4.5))
            lines = [f'<segment transcriber_start="{start}" transcriber_end="{end}"/>' for start, end in spans]
            segments = path / "ami_public_manual_1.6.2" / "segments" / f"{meeting}.{agent}.segments.xml"
            write(segments, f"<nite:root {nite}>{''.join(lines)}</nite:root>")
        text += "</meeting>"
    resources = path / "ami_public_manual_1.6.2" / "corpusResources"
    write(resources / "meetings.xml", f'<?xml version="1.0"?><nite:root {nite}>{text}</nite:root>')


def threedspeaker(path: Path) -> None:
    root = path / "3dspeaker"
    for part, speakers in (("train", ("00001", "00002")), ("test", ("10001", "10002"))):
        wavs, info = "", "Utt-id,Spk-id,Seg-id,Device,Distance,Dialect\n"
        utt2spk = ""
        for spk in speakers:
            for device in ("Device01", "Device03", "Device09"):
                utt = f"3D_SPK_{spk}_001_{device}_Distance00_Dialect00"
                plant(root, f"{part}/3D_SPK_{spk}/{utt}.wav")
                wavs += f"{utt} /{part}/3D_SPK_{spk}/{utt}.wav\n"
                utt2spk += f"{utt} 3D_SPK_{spk}\n"
                info += f"{utt},3D_SPK_{spk},001,{device},Distance00,Standard Mandarin\n"
        write(root / "files" / f"{part}_wav.scp", wavs)
        write(root / "files" / f"{part}_utt2spk", utt2spk)
        write(root / "files" / f"{part}_utt2info.csv", info)
    utt = "3D_SPK_1000{}_001_Device0{}_Distance00_Dialect00".format
    trials = f"{utt(1, 1)} {utt(1, 3)} target\n{utt(1, 1)} {utt(2, 3)} nontarget\n"
    for condition in ("device", "distance", "dialect"):
        write(root / "files" / f"trials_cross_{condition}", trials)


def dacon(path: Path) -> None:
    plant(path / "wav", "a/1.wav", "a/2.wav", "b/1.wav", "c/1.wav", "c/2.wav", "d/1.wav")
    write(path / "train_info.csv", "file_name,speaker\na/1.wav,idx 1\na/2.wav,idx 1\nb/1.wav,idx2\n")
    write(path / "test_data.csv", "file_name,file_name_,label\nc/1.wav,c/2.wav,0\nc/1.wav,d/1.wav,1\n")


def hw4(path: Path) -> None:
    speakers = {
        spk: [{"feature_path": f"uttr-{spk}{n}.pt", "mel_len": 20} for n in "ab"] for spk in ("id00464", "id00559")
    }
    test = [{"feature_path": f"uttr-test{n}.pt"} for n in "ab"]
    write(path / "metadata.json", json.dumps({"n_mels": 40, "speakers": speakers}))
    write(path / "mapping.json", json.dumps({"speaker2id": {spk: n for n, spk in enumerate(speakers)}}))
    write(path / "testdata.json", json.dumps({"n_mels": 40, "utterances": test}))
    for seed, entry in enumerate([*speakers["id00464"], *speakers["id00559"], *test]):
        torch.save(torch.full((20 + seed, 40), float(seed)), path / entry["feature_path"])
