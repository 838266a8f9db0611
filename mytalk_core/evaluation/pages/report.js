"use strict";
// Further apart than this, seconds, and a player is brought back to the first one's time.
const APART = 0.12;

function ready(video) {
  if (video.readyState >= 3) return Promise.resolve();
  return new Promise((done) => {
    video.addEventListener("canplay", done, { once: true });
    video.addEventListener("error", done, { once: true });
    if (video.networkState === HTMLMediaElement.NETWORK_IDLE || video.preload === "none") {
      video.preload = "auto";
      video.load();
    }
  });
}

function setUp(clip) {
  const videos = [...clip.querySelectorAll("video")];
  const [together, speed, sound] = ["together", "speed", "sound"].map((name) => clip.querySelector("." + name));
  if (!videos.length) return;
  const lead = videos[0];
  let playing = false;

  const label = () => { together.textContent = playing ? "❚❚ Pause" : "▶ Play together"; };
  const stop = () => { playing = false; videos.forEach((video) => video.pause()); label(); };
  const seek = (time) => videos.forEach((video) => { video.currentTime = Math.min(time, video.duration || time); });
  const choose = () => videos.forEach((video, i) => { video.muted = i !== Number(sound.value); });

  videos.forEach((video, i) => {
    sound.add(new Option(video.closest("figure").querySelector("figcaption").textContent, i));
  });
  sound.value = String(videos.length - 1);
  choose();
  sound.addEventListener("change", choose);
  speed.addEventListener("change", () => videos.forEach((v) => { v.playbackRate = Number(speed.value); }));

  together.addEventListener("click", async () => {
    if (playing) return stop();
    playing = true;
    label();
    await Promise.all(videos.map(ready));
    if (!playing) return;
    seek(lead.ended ? 0 : lead.currentTime);
    videos.forEach((video) => {
      video.playbackRate = Number(speed.value);
      video.play().catch(stop);
    });
  });
  lead.addEventListener("timeupdate", () => {
    if (!playing) return;
    for (const video of videos.slice(1)) {
      const apart = Math.abs(video.currentTime - lead.currentTime);
      if (!video.ended && apart > APART) video.currentTime = lead.currentTime;
    }
  });
  lead.addEventListener("ended", stop);
  clip.querySelectorAll(".frame").forEach((button) => button.addEventListener("click", async () => {
    stop();
    await Promise.all(videos.map(ready));
    // Half a frame in: the exact start of a frame may show the one before.
    seek(Number(button.dataset.time) + 0.01);
    clip.querySelector(".players").scrollIntoView({ block: "nearest" });
  }));
}

const clips = [...document.querySelectorAll("details.clip")];
clips.forEach(setUp);
if (clips.length) clips[0].open = true;
document.getElementById("all").addEventListener("click", ({ target }) => {
  const open = clips.some((clip) => !clip.open);
  clips.forEach((clip) => { clip.open = open; });
  target.textContent = open ? "Close all" : "Open all";
});
addEventListener("beforeprint", () => clips.forEach((clip) => { clip.open = true; }));
