"use strict";
const study = JSON.parse(document.getElementById("study").textContent);
const slot = "lip-sync-study-" + study.id;
const at = (id) => document.getElementById(id);
const keys = study.ratings.map((rating) => rating.key);
let state = restore();
let current = 0;
let openedAt = 0;

function restore() {
  try {
    const kept = JSON.parse(localStorage.getItem(slot));
    if (kept && kept.order.length === study.videos.length) return kept;
  } catch {
    // Nothing kept, or not readable: a new participant.
  }
  return null;
}

function keep() {
  try {
    localStorage.setItem(slot, JSON.stringify(state));
  } catch {
    at("unkept").hidden = false;
  }
}

function randomBelow(limit) {
  // Values above the last whole multiple of the limit are drawn again: every result is equally likely.
  const top = Math.floor(2 ** 32 / limit) * limit;
  const drawn = new Uint32Array(1);
  do crypto.getRandomValues(drawn); while (drawn[0] >= top);
  return drawn[0] % limit;
}

function shuffled(list) {
  const order = [...list];
  for (let i = order.length - 1; i > 0; i--) {
    const j = randomBelow(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function newParticipant(name) {
  const code = Array.from({ length: 6 }, () => "abcdefghjkmnpqrstuvwxyz23456789"[randomBelow(31)]).join("");
  const label = name.trim().replace(/[^\p{L}\p{N}_. -]/gu, "");
  return { participant: label ? `${label} ${code}` : code, order: shuffled(study.videos), position: 0, answers: {} };
}

function answer() {
  const name = state.order[state.position];
  return (state.answers[name] ??= { ratings: {}, watched: false, broken: false, seconds: 0 });
}

function complete(given) {
  return given !== undefined && keys.every((key) => given.ratings[key]);
}

function show(section) {
  for (const id of ["start", "rate", "end"]) at(id).hidden = id !== section;
  at("who").textContent = state ? `Participant ${state.participant}` : "";
  at("save").hidden = section !== "rate" || !study.videos.some((name) => complete(state.answers[name]));
}

function showVideo() {
  show("rate");
  const name = state.order[state.position];
  at("place").textContent = `Video ${state.position + 1} of ${study.videos.length}`;
  at("progress").max = study.videos.length;
  at("progress").value = state.position;
  at("video").src = `videos/${name}`;
  at("video").play().catch(() => {});
  at("back").disabled = state.position === 0;
  at("questions").reset();
  for (const [key, value] of Object.entries(answer().ratings)) at(`${key}-${value}`).checked = true;
  const open = keys.findIndex((key) => !answer().ratings[key]);
  mark(Math.max(open, 0));
  openedAt = Date.now();
  refresh();
}

function refresh() {
  const given = answer();
  const left = keys.filter((key) => !given.ratings[key]).length;
  const ready = given.broken || (given.watched && left === 0);
  at("broken").hidden = !given.broken;
  at("next").disabled = !ready;
  at("next").textContent = state.position + 1 < study.videos.length ? "Next" : "Finish";
  const wanted = [];
  if (!given.watched) wanted.push("watch to the end");
  if (left) wanted.push(left === 1 ? "1 rating to give" : `${left} ratings to give`);
  at("missing").textContent = ready ? "" : wanted.join(", ");
  at("save").hidden = !study.videos.some((video) => complete(state.answers[video]));
}

function mark(index) {
  current = index;
  document.querySelectorAll("fieldset").forEach((set, i) => set.classList.toggle("current", i === index));
}

function rate(index, value) {
  answer().ratings[keys[index]] = value;
  keep();
  const open = keys.findIndex((key, i) => i > index && !answer().ratings[key]);
  const first = keys.findIndex((key) => !answer().ratings[key]);
  mark(open >= 0 ? open : first >= 0 ? first : index);
  refresh();
}

function leave(step) {
  const given = answer();
  given.seconds += Math.round((Date.now() - openedAt) / 1000);
  at("video").pause();
  state.position += step;
  keep();
  if (state.position >= study.videos.length) return finish();
  showVideo();
  at("place").focus({ preventScroll: true });
  scrollTo(0, 0);
}

function next() {
  if (!at("next").disabled) leave(1);
}

function back() {
  if (state.position > 0) leave(-1);
}

function finish() {
  show("end");
  const done = study.videos.filter((name) => complete(state.answers[name])).length;
  at("summary").textContent = `You have rated ${done} of ${study.videos.length} videos.`;
  at("file").textContent = fileName();
  at("end").querySelector("h1").focus({ preventScroll: true });
}

function fileName() {
  return `ratings-${study.id}-${state.participant.replaceAll(" ", "_")}.csv`;
}

function table() {
  const quote = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const lines = [study.columns.join(",")];
  state.order.forEach((name, place) => {
    const given = state.answers[name];
    if (!given || !(complete(given) || given.broken)) return;
    const ratings = keys.map((key) => given.broken && !complete(given) ? "" : given.ratings[key]);
    const row = [study.id, quote(state.participant), place + 1, name, ...ratings, given.seconds];
    lines.push(row.join(","));
  });
  return lines.join("\r\n") + "\r\n";
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  link.download = fileName();
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function buildQuestions() {
  study.ratings.forEach((rating, index) => {
    const set = document.createElement("fieldset");
    const add = (parent, tag, text = "") => {
      const element = parent.appendChild(document.createElement(tag));
      element.textContent = text;
      return element;
    };
    add(set, "legend", rating.title);
    add(set, "p", rating.hint);
    const scale = add(set, "div");
    scale.className = "scale";
    for (let value = 1; value <= 5; value++) {
      const label = add(scale, "label");
      const input = add(label, "input");
      Object.assign(input, { type: "radio", name: rating.key, id: `${rating.key}-${value}`, value });
      input.addEventListener("change", () => rate(index, value));
      label.append(String(value));
    }
    const ends = add(set, "div");
    ends.className = "ends";
    add(ends, "span", "bad");
    add(ends, "span", "excellent");
    set.addEventListener("focusin", () => mark(index));
    at("questions").append(set);
    add(at("meanings"), "dt", rating.title);
    add(at("meanings"), "dd", rating.hint);
  });
}

function press(event) {
  if (at("rate").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const { key, target } = event;
  const onButton = target.tagName === "BUTTON";
  const video = at("video");
  if (key >= "1" && key <= "5" && key.length === 1) {
    at(`${keys[current]}-${key}`).checked = true;
    rate(current, Number(key));
  } else if (key === "ArrowDown" || key === "ArrowUp") {
    mark((current + (key === "ArrowDown" ? 1 : keys.length - 1)) % keys.length);
    target.blur();
  } else if (key === " " && !onButton && target !== video && !(target.type === "radio" && !target.checked)) {
    if (video.paused) video.play(); else video.pause();
  } else if (key === "Enter" && !onButton) next();
  else if (key === "b" || key === "B") back();
  else return;
  event.preventDefault();
}

at("begin").addEventListener("click", () => {
  state = newParticipant(at("participant").value);
  keep();
  showVideo();
});
at("video").addEventListener("ended", () => { answer().watched = true; keep(); refresh(); });
at("video").addEventListener("error", () => { answer().broken = true; keep(); refresh(); });
at("video").addEventListener("loadeddata", () => { answer().broken = false; refresh(); });
at("questions").addEventListener("submit", (event) => event.preventDefault());
at("next").addEventListener("click", next);
at("back").addEventListener("click", back);
at("download").addEventListener("click", download);
at("save").addEventListener("click", download);
at("again").addEventListener("click", () => { state.position = 0; showVideo(); });
at("other").addEventListener("click", () => {
  if (!confirm("Have these results been downloaded? They are removed from this browser.")) return;
  try { localStorage.removeItem(slot); } catch { /* Nothing was kept. */ }
  state = null;
  at("participant").value = "";
  show("start");
});
document.addEventListener("keydown", press);

buildQuestions();
if (!state) show("start");
else if (state.position >= study.videos.length) finish();
else showVideo();
