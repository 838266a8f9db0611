// A template brings its samples into the input folder when it is opened; the page's lists of files are older than that.
import { app } from "/scripts/app.js";

const SAMPLES = ["ai_woman.mp4", "cartoon_boy.mp4", "speech_en.wav"];

// Load Speech lists every sound and video of the input folder.
function listed() {
  const [kind, settings] = LiteGraph.registered_node_types.MyTalkLoadSpeech?.nodeData?.input?.optional?.audio ?? [];
  return (Array.isArray(kind) ? kind : settings?.options) ?? [];
}

app.registerExtension({
  name: "MyTalk.Samples",
  async beforeConfigureGraph(graph) {
    const text = JSON.stringify(graph?.nodes ?? []);
    const named = text.includes('"MyTalk') ? SAMPLES.filter((name) => text.includes(`"${name}"`)) : [];
    if (named.some((name) => !listed().includes(name))) {
      await app.refreshComboInNodes();
    }
  },
});
