// What a MyTalk node says, on the node itself: the frontend shows text results on its own nodes only.
import { app } from "/scripts/app.js";
import { showLate } from "./late_widget.js";

const ALWAYS = "MyTalkMetrics"; // its table is what it is for, so its place is kept
const LINE_PX = 15;

function addText(node, height) {
  const text = document.createElement("pre");
  text.style.cssText =
    "margin: 0; padding: 6px; overflow: auto; font-size: 11px; line-height: 1.35; user-select: text;" +
    "color: var(--input-text); background: var(--comfy-input-bg); white-space: pre-wrap; text-align: left;";
  const settings = { serialize: false, hideOnZoom: false, getMinHeight: height };
  const widget = node.addDOMWidget("result", "mytalk_text", text, settings);
  widget.serialize = false;
  return { text, widget };
}

// The height of text that wraps: about seven pixels a letter.
function heightOf(node, said) {
  const letters = Math.max(20, Math.floor((node.size[0] - 30) / 7));
  const lines = said.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / letters)), 0);
  return 14 + LINE_PX * lines;
}

function show(node, said) {
  if (node.comfyClass === ALWAYS) {
    node.mytalkText.text.textContent = said;
    return;
  }
  if (node.mytalkText && !said) {
    const { widget } = node.mytalkText;
    widget.onRemove?.();
    node.widgets = node.widgets.filter((other) => other !== widget);
    node.mytalkText = undefined;
  } else if (said) {
    node.mytalkText ??= addText(node, () => heightOf(node, node.mytalkText?.text.textContent ?? said));
    node.mytalkText.text.textContent = said;
    showLate(node, node.mytalkText.text);
  }
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  node.setDirtyCanvas(true, true);
}

app.registerExtension({
  name: "MyTalk.NodeText",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("MyTalk")) {
      return;
    }
    if (node.comfyClass === ALWAYS) {
      node.mytalkText = addText(node, () => 260);
    }
    const executed = node.onExecuted;
    node.onExecuted = function (output) {
      executed?.apply(this, arguments);
      if (output?.text) {
        // A list that was linked has run the node once for each of its items.
        show(node, [...new Set(output.text)].filter(Boolean).join("\n"));
      }
    };
  },
});
