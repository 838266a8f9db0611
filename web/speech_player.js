// Load Speech plays its file, draws its loudness and has a handle at either end of the part that is taken.
import { app } from "/scripts/app.js";
import { api } from "/scripts/api.js";

const BARS = 160;
const WAVE_PX = 56;
const PLAYER_PX = 36;
// What the older canvas leaves free around a widget.
const MARGIN_PX = 10;
// A larger file is played, but not drawn: the page would hold all of it, and its samples several times over.
const MOST_BYTES = 2 ** 28;
const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  return element;
}

function addressOf(file) {
  const kind = /\[(input|output|temp)\]\s*$/.exec(file)?.[1] ?? "input";
  const path = file.replace(/\s*\[\w+\]\s*$/, "");
  const cut = path.lastIndexOf("/");
  const place = { filename: path.slice(cut + 1), subfolder: cut < 0 ? "" : path.slice(0, cut), type: kind };
  return api.apiURL(`/view?${new URLSearchParams(place)}`);
}

// The loudest sample of each of BARS parts, 0 to 1 of the loudest of all.
function loudness(sound) {
  const samples = sound.getChannelData(0);
  const step = samples.length / BARS;
  const peaks = Array.from({ length: BARS }, (_, bar) => {
    let peak = 0;
    for (let i = Math.floor(bar * step); i < Math.floor((bar + 1) * step); i += 8) {
      peak = Math.max(peak, Math.abs(samples[i]));
    }
    return peak;
  });
  const most = Math.max(...peaks, 1e-6);
  return peaks.map((peak) => peak / most);
}

class SpeechPlayer {
  constructor(node) {
    this.node = node;
    this.length = 0;
    this.file = null;
    this.wave = shape("svg", { viewBox: `0 0 ${BARS} 100`, preserveAspectRatio: "none" });
    this.wave.style.cssText = `width: 100%; height: ${WAVE_PX}px; cursor: ew-resize; touch-action: none; display: block;`;
    this.bars = shape("path", { stroke: "#8ab4f8", "stroke-width": "0.6" });
    this.before = shape("rect", { x: 0, y: 0, height: 100, fill: "#000a" });
    this.after = shape("rect", { y: 0, height: 100, fill: "#000a" });
    this.handles = [0, 1].map(() => shape("rect", { y: 0, width: 1, height: 100, fill: "#3ddc84" }));
    this.wave.append(this.bars, this.before, this.after, ...this.handles);
    this.audio = document.createElement("audio");
    this.audio.controls = true;
    this.audio.preload = "metadata";
    this.audio.style.cssText = `width: 100%; height: ${PLAYER_PX}px; display: block;`;
    this.root = document.createElement("div");
    this.root.append(this.wave, this.audio);
    this.listen();
    const height = () => WAVE_PX + PLAYER_PX + 2 * MARGIN_PX;
    const settings = { serialize: false, hideOnZoom: false, getMinHeight: height, getMaxHeight: height };
    this.widget = node.addDOMWidget("player", "mytalk_player", this.root, settings);
    this.widget.serialize = false;
  }

  find(name) {
    return this.node.widgets.find((widget) => widget.name === name);
  }

  listen() {
    this.wave.addEventListener("pointerdown", (event) => this.grab(event));
    this.audio.addEventListener("pointerdown", (event) => event.stopPropagation());
    this.audio.addEventListener("play", () => {
      const [start, end] = this.part();
      if (this.audio.currentTime < start || this.audio.currentTime >= end - 0.05) {
        this.audio.currentTime = start;
      }
    });
    this.audio.addEventListener("timeupdate", () => {
      if (!this.audio.paused && this.audio.currentTime >= this.part()[1]) {
        this.audio.pause();
      }
    });
    for (const name of ["audio", "start_s", "duration_s"]) {
      const widget = this.find(name);
      const told = widget.callback;
      widget.callback = (...values) => {
        told?.apply(widget, values);
        this.refresh();
      };
    }
  }

  // Seconds of the part that is taken, within the file; one that is not drawn (yet) plays as long as it lasts.
  part() {
    const length = this.length || this.audio.duration || Infinity;
    const start = Math.min(Number(this.find("start_s").value) || 0, length);
    const duration = Number(this.find("duration_s").value) || 0;
    return [start, duration > 0 ? Math.min(start + duration, length) : length];
  }

  async refresh() {
    const file = this.find("audio").value;
    if (file && file !== this.file) {
      this.file = file;
      await this.load(addressOf(file), file);
    }
    this.draw();
  }

  async load(address, file) {
    this.audio.src = address;
    this.length = 0;
    this.bars.setAttribute("d", "");
    const context = new OfflineAudioContext(1, 1, 16000);
    try {
      const response = await fetch(address);
      const fits = response.ok && Number(response.headers.get("content-length")) <= MOST_BYTES;
      if (!fits) {
        await response.body?.cancel();
      }
      const sound = fits ? await context.decodeAudioData(await response.arrayBuffer()) : null;
      if (sound && file === this.file) {
        this.length = sound.duration;
        const lines = loudness(sound).map((peak, bar) => `M${bar + 0.5} ${50 - 48 * peak}V${50 + 48 * peak}`);
        this.bars.setAttribute("d", lines.join(""));
      }
    } catch {
      // A kind of file that the browser cannot read: the server can, and the numbers still trim it.
    }
  }

  draw() {
    this.wave.style.display = this.length ? "block" : "none";
    if (!this.length) {
      return;
    }
    const [left, right] = this.part().map((seconds) => (BARS * seconds) / this.length);
    this.before.setAttribute("width", left);
    this.after.setAttribute("x", right);
    this.after.setAttribute("width", Math.max(0, BARS - right));
    this.handles[0].setAttribute("x", left);
    this.handles[1].setAttribute("x", Math.max(left, right - 1));
  }

  set(name, value) {
    const widget = this.find(name);
    widget.value = Math.round(100 * value) / 100;
    widget.callback?.(widget.value);
  }

  // Whichever end is nearer follows the pointer.
  grab(event) {
    event.stopPropagation();
    const seconds = (moved) => {
      const box = this.wave.getBoundingClientRect();
      return this.length * Math.min(1, Math.max(0, (moved.clientX - box.left) / box.width));
    };
    const [start, end] = this.part();
    const first = Math.abs(seconds(event) - start) < Math.abs(seconds(event) - end);
    const move = (moved) => {
      const at = seconds(moved);
      const from = first ? Math.min(at, end - 0.1) : start;
      const to = first ? end : Math.max(at, start + 0.1);
      this.set("start_s", Math.max(0, from));
      this.set("duration_s", to > this.length - 0.01 ? 0 : to - Math.max(0, from));
    };
    const drop = () => {
      this.wave.removeEventListener("pointermove", move);
      this.wave.removeEventListener("pointerup", drop);
      this.node.setDirtyCanvas(true, true);
    };
    this.wave.setPointerCapture(event.pointerId);
    this.wave.addEventListener("pointermove", move);
    this.wave.addEventListener("pointerup", drop);
    move(event);
  }
}

app.registerExtension({
  name: "MyTalk.SpeechPlayer",
  nodeCreated(node) {
    // Where a package is missing a node without widgets stands in.
    if (node.comfyClass !== "MyTalkLoadSpeech" || !node.widgets?.some((widget) => widget.name === "audio")) {
      return;
    }
    const player = new SpeechPlayer(node);
    const configured = node.onConfigure;
    node.onConfigure = function () {
      configured?.apply(this, arguments);
      player.refresh();
    };
    player.refresh();
  },
});
