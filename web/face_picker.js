// Extract Landmarks shows a frame with its faces in boxes; a click on one chooses it for the next run.
import { app } from "/scripts/app.js";
import { api } from "/scripts/api.js";
import { showLate } from "./late_widget.js";

const WORDS = {
  en: { choose: "Choose face", next: "Face {n} is taken when you run again." },
  zh: { choose: "选择人脸", next: "再次运行时使用人脸 {n}。" },
};
// The older canvas leaves this much on either side of a widget, and above and below it.
const MARGIN_PX = 10;

function words() {
  const locale = app.ui?.settings?.getSettingValue("Comfy.Locale") ?? navigator.language;
  return String(locale).startsWith("zh") ? WORDS.zh : WORDS.en;
}

function addPicker(node) {
  const picker = document.createElement("div");
  picker.style.cssText = "display: flex; align-items: flex-start; overflow: hidden;";
  // The frame fills the width; the boxes are placed in percent of it.
  const frame = document.createElement("div");
  frame.style.cssText = "position: relative; width: 100%; background-size: 100% 100%;";
  const boxes = document.createElement("div");
  const caption = document.createElement("div");
  caption.style.cssText =
    "position: absolute; bottom: 0; width: 100%; text-align: center; font-size: 12px; line-height: 22px;" +
    "color: #fff; background: #000a; pointer-events: none;";
  frame.append(boxes, caption);
  picker.append(frame);
  const height = () => 2 * MARGIN_PX + (node.size[0] - 2 * MARGIN_PX) * (node.mytalkFaces?.ratio ?? 0.75);
  const settings = { serialize: false, hideOnZoom: false, getMinHeight: height, getMaxHeight: height };
  const widget = node.addDOMWidget("faces", "mytalk_faces", picker, settings);
  widget.serialize = false;
  showLate(node, picker);
  return { frame, boxes, caption, ratio: 0.75 };
}

function set(node, name, value) {
  const widget = node.widgets.find((other) => other.name === name);
  if (widget) {
    widget.value = value;
    widget.callback?.(value);
  }
}

function choose(node, face) {
  set(node, "face", "place");
  set(node, "place_x", face.x);
  set(node, "place_y", face.y);
  node.mytalkFaces.caption.textContent = words().next.replace("{n}", face.number);
  for (const button of node.mytalkFaces.boxes.children) {
    paint(button, button.dataset.number === String(face.number));
  }
  node.setDirtyCanvas(true, true);
}

function paint(button, chosen) {
  button.style.borderColor = chosen ? "#3ddc84" : "#ffffff";
  button.firstChild.style.background = chosen ? "#3ddc84" : "#ffffff";
}

function addBox(node, face, shown) {
  const button = document.createElement("button");
  const percent = (px, whole) => `${(100 * px) / whole}%`;
  button.style.cssText =
    "position: absolute; padding: 0; background: transparent; border: 2px solid; border-radius: 4px; cursor: pointer;" +
    `left: ${percent(face.left, shown.width)}; top: ${percent(face.top, shown.height)};` +
    `width: ${percent(face.width, shown.width)}; height: ${percent(face.height, shown.height)};`;
  const number = document.createElement("span");
  number.style.cssText =
    "position: absolute; left: 0; top: 0; padding: 0 5px; font: bold 12px sans-serif; color: #000; border-radius: 0 0 4px 0;";
  number.textContent = face.number;
  button.append(number);
  button.title = `${words().choose} ${face.number}`;
  button.dataset.number = face.number;
  // A press that reaches the node would drag it.
  button.addEventListener("pointerdown", (event) => event.stopPropagation());
  button.addEventListener("click", () => choose(node, face));
  paint(button, face.chosen);
  node.mytalkFaces.boxes.append(button);
}

function show(node, shown) {
  node.mytalkFaces ??= addPicker(node);
  const { frame, boxes, caption } = node.mytalkFaces;
  node.mytalkFaces.ratio = shown.height / shown.width;
  frame.style.aspectRatio = `${shown.width} / ${shown.height}`;
  const address = new URLSearchParams({ ...shown.picture, rand: Math.random() });
  frame.style.backgroundImage = `url("${api.apiURL(`/view?${address}`)}")`;
  boxes.replaceChildren();
  caption.textContent = "";
  shown.boxes.forEach((face) => addBox(node, face, shown));
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  node.setDirtyCanvas(true, true);
}

app.registerExtension({
  name: "MyTalk.FacePicker",
  nodeCreated(node) {
    if (node.comfyClass !== "MyTalkExtractLandmarks") {
      return;
    }
    const executed = node.onExecuted;
    node.onExecuted = function (output) {
      executed?.apply(this, arguments);
      if (output?.faces?.[0]) {
        show(node, output.faces[0]);
      }
    };
  },
});
