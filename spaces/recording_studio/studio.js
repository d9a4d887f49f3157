// The microphone as it is, for a corpus; and keys, since hundreds of prompts are many clicks.
(() => {
  // Browsers otherwise cancel echoes, suppress noise and change the gain, as for a telephone.
  const devices = navigator.mediaDevices;
  if (devices) {
    const ask = devices.getUserMedia.bind(devices);
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    devices.getUserMedia = (wishes) =>
      ask(wishes?.audio ? { ...wishes, audio: { ...(wishes.audio === true ? {} : wishes.audio), ...plain } } : wishes);
  }
  // Without loss where the browser can; otherwise it encodes, mostly as Opus.
  const lossless = "audio/webm;codecs=pcm";
  if (window.MediaRecorder?.isTypeSupported(lossless)) {
    const Recorder = window.MediaRecorder;
    window.MediaRecorder = class extends Recorder {
      constructor(stream, options) {
        super(stream, stream.getVideoTracks().length ? options : { ...options, mimeType: lossless });
      }
    };
  }
  const visible = (wanted) =>
    [...document.querySelectorAll(wanted)].find((button) => button.offsetParent && !button.disabled);
  const record = "#recorder .record-button";
  const SECONDS_TO_WAIT = 5;
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#again")) return;
    const deadline = Date.now() + SECONDS_TO_WAIT * 1000;
    const begin = () => {
      const button = visible(record);
      if (button) button.click();
      else if (Date.now() < deadline) setTimeout(begin, 50);
    };
    begin();
  });
  const buttons = { r: `${record}, #recorder .stop-button, #again`, k: "#keep", ArrowLeft: "#back", ArrowRight: "#on" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    if (event.target.closest?.("input, textarea, select, audio, [role=listbox], [role=slider]")) return;
    const button = visible(buttons[event.key] ?? "none");
    if (!button) return;
    event.preventDefault();
    button.click();
  });
})();
