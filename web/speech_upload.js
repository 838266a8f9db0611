// The upload button of Load Speech: the frontend's own takes sound files only, and only on its own nodes.
import { app } from "/scripts/app.js";
import { api } from "/scripts/api.js";

const WORDS = {
  en: { button: "choose file to upload", failed: "could not be uploaded" },
  zh: { button: "选择文件上传", failed: "上传失败" },
};

function words() {
  const locale = app.ui?.settings?.getSettingValue("Comfy.Locale") ?? navigator.language;
  return String(locale).startsWith("zh") ? WORDS.zh : WORDS.en;
}

async function upload(file) {
  const body = new FormData();
  body.append("image", file);
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (response.status !== 200) {
    throw new Error(`${file.name} ${words().failed}: ${response.status} ${response.statusText}`);
  }
  const { name, subfolder } = await response.json();
  return subfolder ? `${subfolder}/${name}` : name;
}

function choose(node, widget) {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "audio/*,video/*";
  input.onchange = async () => {
    try {
      const name = await upload(input.files[0]);
      if (!widget.options.values.includes(name)) {
        widget.options.values.push(name);
      }
      widget.value = name;
      widget.callback?.(name);
      // The canvas is drawn again only when it is told to.
      node.setDirtyCanvas(true, true);
    } catch (error) {
      app.extensionManager.toast.add({ severity: "error", summary: "MyTalk", detail: error.message });
    }
  };
  input.click();
}

app.registerExtension({
  name: "MyTalk.SpeechUpload",
  nodeCreated(node) {
    if (node.comfyClass !== "MyTalkLoadSpeech") {
      return;
    }
    const files = node.widgets?.find((widget) => widget.name === "audio");
    // What stands in for the node where a package is missing has no widgets.
    if (!files) {
      return;
    }
    const button = node.addWidget("button", words().button, null, () => choose(node, files), {
      serialize: false,
    });
    button.serialize = false;
  },
});
