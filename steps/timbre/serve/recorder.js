// Runs beside the page and hands it what the microphone hears (AudioWorklet).
registerProcessor("recorder", class extends AudioWorkletProcessor {
  process(inputs) {
    const channel = inputs[0][0];
    if (channel) this.port.postMessage(channel.slice());
    return true;
  }
});
