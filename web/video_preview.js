// What these nodes have made is a video: Nodes 2.0 of older pages tells it from a picture by a socket that is VIDEO alone.
import { app } from "/scripts/app.js";

const MAKE_VIDEOS = ["MyTalkVideoCombine", "MyTalkLipSyncFolder"];

app.registerExtension({
  name: "MyTalk.VideoPreview",
  nodeCreated(node) {
    if (MAKE_VIDEOS.includes(node.comfyClass)) {
      node.previewMediaType = "video";
    }
  },
});
