// The table of MyTalk Metrics on the node itself: the frontend shows text results on its own nodes only.
import { app } from "/scripts/app.js";

app.registerExtension({
  name: "MyTalk.MetricsTable",
  nodeCreated(node) {
    if (node.comfyClass !== "MyTalkMetrics") {
      return;
    }
    const table = document.createElement("pre");
    table.style.cssText =
      "margin: 0; padding: 6px; overflow: auto; font-size: 11px; line-height: 1.35; user-select: text;" +
      "color: var(--input-text); background: var(--comfy-input-bg); white-space: pre-wrap; text-align: left;";
    const settings = { serialize: false, hideOnZoom: false, getMinHeight: () => 260 };
    const widget = node.addDOMWidget("result", "mytalk_table", table, settings);
    widget.serialize = false;
    const executed = node.onExecuted;
    node.onExecuted = function (output) {
      executed?.apply(this, arguments);
      table.textContent = output.text?.[0] ?? "";
    };
  },
});
