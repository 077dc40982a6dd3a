"use strict";
// Microphone and files: from either to 16-bit WAV, or the file itself where the server can read it.

class Microphone {
  // Calls heard(Float32Array) with what it hears until stop().
  constructor(heard) { this.heard = heard; }

  async start() {
    if (!navigator.mediaDevices || !window.AudioWorkletNode)
      throw new Error("the browser gives no microphone to this page: it does so for https and for this machine only");
    const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    } catch (error) {
      throw new Error(error.name === "NotAllowedError" ? "the microphone may not be used: allow it in the browser"
        : "no microphone was found");
    }
    this.context = new AudioContext();
    this.rate = this.context.sampleRate;
    await this.context.audioWorklet.addModule("/recorder.js");
    this.node = new AudioWorkletNode(this.context, "recorder", { numberOfOutputs: 0 });
    this.node.port.onmessage = (event) => this.heard(event.data);
    this.context.createMediaStreamSource(this.stream).connect(this.node);
  }

  async stop() {
    if (this.stream) this.stream.getTracks().forEach((track) => track.stop());
    if (this.context) await this.context.close();
  }
}

function to16Bit(parts) {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const samples = new Int16Array(length);
  let at = 0;
  for (const part of parts)
    for (const value of part) samples[at++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
  return samples;
}

function wav(samples, rate) {
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((letter, place) => head.setUint8(at + place, letter.charCodeAt(0)));
  text(0, "RIFF"); head.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
  head.setUint32(16, 16, true); head.setUint16(20, 1, true); head.setUint16(22, 1, true);
  head.setUint32(24, rate, true); head.setUint32(28, 2 * rate, true); head.setUint16(32, 2, true);
  head.setUint16(34, 16, true); text(36, "data"); head.setUint32(40, 2 * samples.length, true);
  return new Blob([head, samples], { type: "audio/wav" });
}

async function readable(file) {
  // What the server reads is sent as it is; the rest is decoded here, its channels averaged.
  if (/\.(wav|flac|ogg|oga|opus|mp3|aiff?)$/i.test(file.name)) return file;
  const context = new AudioContext();
  try {
    const audio = await context.decodeAudioData(await file.arrayBuffer());
    const mono = new Float32Array(audio.length);
    for (let channel = 0; channel < audio.numberOfChannels; channel++)
      audio.getChannelData(channel).forEach((value, place) => { mono[place] += value / audio.numberOfChannels; });
    return new File([wav(to16Bit([mono]), audio.sampleRate)], file.name.replace(/\.\w*$/, "") + ".wav");
  } catch {
    return file; // the server says what is wrong with it
  } finally {
    await context.close();
  }
}

class Clip {
  // A place for a recording: a button to record, a file, or something dropped on it.
  constructor(place) {
    this.place = place;
    this.many = place.dataset.many === "true";
    this.files = [];
    const label = place.dataset.label;
    place.innerHTML = `<fieldset><legend></legend><div class="buttons">
      <button type="button" class="record" aria-pressed="false">Record</button>
      <label class="file">Choose a file<input type="file" accept="audio/*,.flac,.opus,.wav,.m4a,.webm,.amr"></label>
      <meter min="0" max="1" low="0.02" optimum="0.5" aria-label="Level" hidden></meter></div>
      <p class="what" role="status"></p></fieldset>`;
    place.querySelector("legend").textContent = label;
    this.button = place.querySelector(".record");
    this.button.setAttribute("aria-label", `Record: ${label}`);
    this.input = place.querySelector("input");
    this.input.multiple = this.many;
    this.input.setAttribute("aria-label", `${label}: choose ${this.many ? "files" : "a file"}`);
    this.meter = place.querySelector("meter");
    this.what = place.querySelector(".what");
    this.clear();
    this.button.addEventListener("click", () => this.toggle().catch(tell));
    this.input.addEventListener("change", () => { this.take(this.input.files).catch(tell); });
    for (const name of ["dragover", "dragleave", "drop"])
      place.addEventListener(name, (event) => {
        event.preventDefault();
        place.classList.toggle("over", name === "dragover");
        if (name === "drop") this.take(event.dataTransfer.files).catch(tell);
      });
  }

  clear() {
    this.files = [];
    this.input.value = "";
    this.show(`Record, choose ${this.many ? "files" : "a file"}, or drop ${this.many ? "them" : "one"} here.`);
  }

  show(text) {
    this.what.textContent = text;
    this.place.querySelectorAll("audio").forEach((player) => { URL.revokeObjectURL(player.src); player.remove(); });
    for (const file of this.files) {
      const player = document.createElement("audio");
      player.controls = true;
      player.src = URL.createObjectURL(file);
      player.setAttribute("aria-label", file.name);
      this.place.querySelector("fieldset").append(player);
    }
  }

  async take(given) {
    if (!given.length) return;
    const files = await Promise.all([...given].slice(0, this.many ? 20 : 1).map(readable));
    this.files = this.many ? [...this.files, ...files].slice(0, 20) : files;
    this.show(this.files.map((file) => file.name).join(", "));
  }

  async toggle() {
    if (this.microphone) {
      const microphone = this.microphone;
      this.microphone = null;
      await microphone.stop();
      const samples = to16Bit(this.parts);
      this.button.textContent = "Record";
      this.button.setAttribute("aria-pressed", "false");
      this.meter.hidden = true;
      const seconds = samples.length / microphone.rate;
      const file = new File([wav(samples, microphone.rate)], `recording ${this.files.length + 1}.wav`);
      this.files = this.many ? [...this.files, file].slice(0, 20) : [file];
      this.show(`${seconds.toFixed(1)} s recorded.` + (this.many ? ` ${this.files.length} recordings.` : ""));
      return;
    }
    this.parts = [];
    this.microphone = new Microphone((part) => {
      this.parts.push(part);
      this.meter.value = level(part);
      if (this.parts.length * part.length > 300 * this.microphone?.rate) this.toggle().catch(tell);
    });
    try {
      await this.microphone.start();
    } catch (error) {
      this.microphone = null;
      throw error;
    }
    this.button.textContent = "Stop";
    this.button.setAttribute("aria-pressed", "true");
    this.meter.hidden = false;
    this.what.textContent = "Recording. Speak for at least three seconds.";
  }
}

function level(part) {
  return Math.sqrt(part.reduce((sum, value) => sum + value * value, 0) / part.length) * 3;
}
