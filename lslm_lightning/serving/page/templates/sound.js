// Sound: a recording becomes a WAV file, and every sound is drawn as a spectrogram.
const RATE = 16000; // Hz of recordings and of the drawing
const WINDOW = 512; // samples
const MOST_COLUMNS = 720;

const decoded = async (file) => {
  const context = new OfflineAudioContext(1, 1, RATE);
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const mono = new Float32Array(sound.length);
  for (let i = 0; i < sound.numberOfChannels; i++) sound.getChannelData(i).forEach((value, j) => { mono[j] += value / sound.numberOfChannels; });
  return mono;
};

// 16 bits, one channel. Source: RIFF WAVE, Microsoft and IBM 1991.
const wav = (samples) => {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const letters = (at, text) => [...text].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  letters(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, RATE, true); view.setUint32(28, 2 * RATE, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  letters(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, value)) * 32767, true));
  return new File([view], "recording.wav", { type: "audio/wav" });
};

// In place, of a length that is a power of two. Source: Cooley and Tukey 1965.
const fourier = (real, imaginary) => {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j], imaginary[i], imaginary[j]] = [real[j], real[i], imaginary[j], imaginary[i]];
  }
  for (let size = 2; size <= n; size *= 2)
    for (let start = 0; start < n; start += size)
      for (let k = 0; k < size / 2; k++) {
        const [a, b, angle] = [start + k, start + k + size / 2, (-2 * Math.PI * k) / size];
        const [x, y] = [real[b] * Math.cos(angle) - imaginary[b] * Math.sin(angle), real[b] * Math.sin(angle) + imaginary[b] * Math.cos(angle)];
        [real[b], imaginary[b]] = [real[a] - x, imaginary[a] - y];
        real[a] += x; imaginary[a] += y;
      }
};

// Decibels of each window, from low to high frequencies.
const spectra = (samples) => {
  const hop = Math.max(RATE / 100, Math.ceil(samples.length / MOST_COLUMNS));
  const columns = [];
  for (let start = 0; start < samples.length; start += hop) {
    const real = Float64Array.from({ length: WINDOW }, (_, i) => (samples[start + i] ?? 0) * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / WINDOW)));
    const imaginary = new Float64Array(WINDOW);
    fourier(real, imaginary);
    columns.push(Float64Array.from({ length: WINDOW / 2 }, (_, i) => 10 * Math.log10(real[i] ** 2 + imaginary[i] ** 2 + 1e-10)));
  }
  return columns;
};

// One pixel a value; the ink of the page on its paper, as faint as the value is low.
const spectrogram = (samples) => {
  const columns = spectra(samples);
  const seconds = samples.length / RATE;
  const loudness = columns.map((column) => column.reduce((sum, value) => sum + 10 ** (value / 10), 0));
  const loudest = (seconds * loudness.indexOf(Math.max(...loudness))) / columns.length;
  const words = t("Spectrogram of {seconds} s, 0 to 8 kHz, low at the bottom; loudest at {loudest} s.", { seconds: number(seconds, 1), loudest: number(loudest, 1) });
  const canvas = element("canvas", { width: columns.length, height: WINDOW / 2, role: "img", "aria-label": words });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const values = columns.flatMap((column) => [...column]).sort((a, b) => a - b);
    const [low, high] = [values[Math.floor(values.length * 0.1)], values[Math.floor(values.length * 0.995)]];
    const picture = new ImageData(columns.length, WINDOW / 2);
    const ink = dark.matches ? [228, 227, 223] : [29, 30, 32];
    columns.forEach((column, x) => column.forEach((value, y) => {
      const at = 4 * ((WINDOW / 2 - 1 - y) * columns.length + x);
      picture.data.set([...ink, 255 * Math.max(0, Math.min(1, (value - low) / Math.max(high - low, 1e-9)))], at);
    }));
    canvas.getContext("2d").putImageData(picture, 0, 0);
  };
  dark.addEventListener("change", draw);
  draw();
  return element("figure", {}, canvas, element("p", { class: "axis" }, words));
};

let address = null; // of the sound in the player
const showSound = async (place, file) => {
  if (address) URL.revokeObjectURL(address);
  address = file ? URL.createObjectURL(file) : null;
  place.replaceChildren(...(file ? [element("audio", { controls: "", src: address, "aria-label": t("Sound") })] : []));
  if (!file) return;
  try {
    place.append(spectrogram(await decoded(file)));
  } catch {
    place.append(element("p", { class: "aside" }, t("This browser cannot draw the sound; the server may still read it.")));
  }
};

// Starts and ends a recording, which is put into the file field of the form.
const setUpRecording = (form, tell, fail) => {
  const [row, field, place] = [form.querySelector("[data-record]"), form.elements.sound, form.querySelector("[data-sound]")];
  const button = row.querySelector("button");
  const idle = button.textContent;
  let recorder = null;
  row.hidden = false;
  button.disabled = !(globalThis.isSecureContext && navigator.mediaDevices && globalThis.MediaRecorder);
  field.addEventListener("change", () => showSound(place, field.files[0]));
  button.addEventListener("click", async () => {
    if (recorder) return recorder.stop();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const parts = [];
      recorder = new MediaRecorder(stream);
      recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
      recorder.addEventListener("stop", async () => {
        stream.getTracks().forEach((track) => track.stop());
        recorder = null;
        button.textContent = idle;
        try {
          const files = new DataTransfer();
          files.items.add(wav(await decoded(new Blob(parts))));
          field.files = files.files;
          tell(t("Recorded."));
          await showSound(place, field.files[0]);
        } catch {
          fail(t("Nothing was recorded."));
        }
      });
      recorder.start();
      button.textContent = t("Stop recording");
      tell(t("Recording …"));
    } catch (error) {
      recorder = null;
      fail(t("The microphone cannot be used: {reason}", { reason: error.message }));
    }
  });
};
