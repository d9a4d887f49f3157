// Plays pieces of live speech one after the other; a piece reads "number:rate:16-bit samples in base64".
(() => {
  const LEAD_SECONDS = 0.05; // between arrival and sound, so that small delays leave no gaps
  let context = null;
  let end = 0;
  window.antiphonPlayed = 0; // seconds, for whoever wants to know that it works
  window.antiphonPlay = (piece) => {
    const [, rate, text] = (piece ?? "").split(":");
    if (!text) return;
    context ??= new AudioContext();
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const samples = Float32Array.from(new Int16Array(bytes.buffer), (sample) => sample / 32768);
    const buffer = context.createBuffer(1, samples.length, Number(rate));
    buffer.copyToChannel(samples, 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    end = Math.max(end, context.currentTime + LEAD_SECONDS);
    source.start(end);
    end += buffer.duration;
    window.antiphonPlayed += buffer.duration;
  };
})();
