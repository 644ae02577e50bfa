// The page: sends photographs, one request each, and shows what comes back.

const find = (id) => document.getElementById(id);
const results = find("results");

// More at a time would only wait in the server's queue.
const AT_ONCE = 3;
const TRIES = 4;
const TOKEN = "fruits-token";

let running = 0;
let locked = false;
const waiting = [];
let limits = { max_file: Infinity, keeps_uploads: false };

// ---- Talking to the server

/** The token of a link, "#token=...", is kept for this tab and leaves the address. */
function takeTokenOfAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    sessionStorage.setItem(TOKEN, token);
    history.replaceState(null, "", location.pathname);
  }
}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  return fetch(path, { ...options, headers: { ...headers, ...options.headers } });
}

async function send(file) {
  const form = new FormData();
  form.append("files", file, file.name || "photograph");
  if (limits.keeps_uploads && find("keep").checked) form.append("keep", "true");
  for (let tries = 1; ; tries += 1) {
    const answer = await ask("predict?thumbnails=true", { method: "POST", body: form });
    if (answer.status !== 429 || tries === TRIES) return answer;
    const seconds = Number(answer.headers.get("Retry-After")) || 1;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

// ---- Photographs on their way

function receive(files) {
  const some = [...files];
  for (const file of some) {
    const card = newCard(file);
    results.prepend(card);
    waiting.push({ file, card });
  }
  if (some.length) say(some.length === 1 ? "Looking at it" : `Looking at ${some.length} photographs`);
  work();
}

function work() {
  while (!locked && running < AT_ONCE && waiting.length) {
    const { file, card } = waiting.shift();
    running += 1;
    look(file, card).finally(() => {
      running -= 1;
      work();
    });
  }
}

async function look(file, card) {
  if (file.size > limits.max_file) {
    showFailure(card, `The file is larger than ${megabytes(limits.max_file)}.`);
    return;
  }
  try {
    const answer = await send(file);
    if (answer.status === 401) return askForToken({ file, card });
    const body = await answer.json();
    const prediction = body.predictions?.[0];
    if (prediction && !prediction.error) showPrediction(card, prediction, body.kept);
    else showFailure(card, prediction?.error ?? body.error, answer.status >= 500 || [408, 429].includes(answer.status));
  } catch {
    showFailure(card, navigator.onLine ? "The server does not answer, or the file cannot be read." : "There is no network.", true);
  }
}

// ---- What is shown

function newCard(file) {
  const card = find("card").content.firstElementChild.cloneNode(true);
  card.classList.add("waiting");
  card.querySelector(".file").textContent = file.name;
  const image = card.querySelector("img");
  image.alt = `Your photograph ${file.name}`;
  image.src = URL.createObjectURL(file);
  image.addEventListener("load", () => URL.revokeObjectURL(image.src));
  image.addEventListener("error", () => image.replaceWith(blank("This browser cannot show it.")));
  return card;
}

function showPrediction(card, prediction, kept) {
  const [best] = prediction.top;
  const name = card.querySelector(".label");
  const sure = card.querySelector(".sure");
  card.classList.remove("waiting");
  card.classList.toggle("unknown", prediction.unknown);
  if (prediction.unknown) {
    name.textContent = "I do not know this";
    sure.textContent = `It is unlike all photographs that I was trained on. The closest label is ${prediction.label}.`;
  } else {
    name.textContent = prediction.label;
    sure.textContent = `${percent(best.probability)} sure`;
  }
  if (kept) sure.textContent += " · stored, with your consent";
  card.querySelector(".bars").replaceChildren(...prediction.top.map(bar));
  card.querySelector(".near").hidden = prediction.neighbours.length === 0;
  card.querySelector(".neighbours").replaceChildren(...prediction.neighbours.map(neighbour));
  say(prediction.unknown ? "I do not know this" : `${prediction.label}, ${percent(best.probability)} sure`);
}

function showFailure(card, reason, isTemporary = false) {
  const title = isTemporary ? "There is no prediction" : "This file cannot be used";
  const text = reason ? sentence(reason) : "The server reported an error.";
  card.classList.remove("waiting");
  card.classList.add("failed");
  card.querySelector(".label").textContent = title;
  card.querySelector(".sure").textContent = text;
  say(`${title}. ${text}`);
}

function bar({ label, probability }) {
  const fill = element("span", "fill");
  fill.style.width = "0";
  // Once it is on the page, so that it grows.
  requestAnimationFrame(() => requestAnimationFrame(() => { fill.style.width = `${100 * probability}%`; }));
  const track = element("span", "track");
  track.setAttribute("aria-hidden", "true");
  track.append(fill);
  const item = element("li");
  item.append(element("span", "", label), element("span", "share", percent(probability)), track);
  return item;
}

function neighbour({ label, thumbnail }) {
  const item = element("li");
  if (thumbnail) {
    const image = element("img");
    image.alt = "";
    image.src = `data:image/jpeg;base64,${thumbnail}`;
    item.append(image);
  } else {
    item.append(blank(""));
  }
  item.append(element("span", "", label));
  return item;
}

function showModel(model) {
  limits = model;
  const kinds = `${number(model.labels.length)} kinds`;
  find("learned").textContent = `Show me a photograph of one fruit. I have learned ${kinds} from ${number(model.images)} photographs.`;
  find("consent").hidden = !model.keeps_uploads;
  if (model.keeps_uploads) find("privacy").textContent = "Photographs are read in memory and not stored, unless you agree:";
  find("facts").replaceChildren(
    ...model.evaluation.flatMap((one) => accuracy(one, model.groups_by ?? {})),
    ...fact("Training data", `${number(model.images)} photographs`, [kinds, model.data].filter(Boolean).join(", ")),
    ...fact("Network", model.backbone, model.computed_by),
    ...fact("Model", model.version, `served by fruits ${model.fruits}`),
  );
  find("credit").textContent = model.credit;
}

function accuracy({ scheme, images, accuracy: share, identical }, { block }) {
  const side = scheme.startsWith("split: ") && scheme.slice(7);
  let what = side
    ? `on ${number(images)} photographs, the ${side} images of the data set`
    : `on ${number(images)} photographs, each from a group that was held out of the training`;
  if (!side && block) what += "; some groups are only files with neighbouring names: if one fruit is in several of them, this figure is too high";
  if (identical) what += `; ${number(identical)} of them are also training photographs`;
  return fact(side ? `Accuracy on the ${side} images` : "Accuracy on held-out groups", percent(share), what, "figure");
}

function fact(name, value, note, style = "") {
  const definition = element("dd", "");
  definition.append(element("span", style, value), element("small", "", note));
  const item = element("div");
  item.append(element("dt", "", name), definition);
  return [item];
}

// ---- Access

function askForToken(again) {
  const given = sessionStorage.getItem(TOKEN) !== null;
  sessionStorage.removeItem(TOKEN);
  // What waits is sent when there is a token.
  locked = true;
  if (again) waiting.push(again);
  find("access").hidden = false;
  if (given) find("refused").textContent = "This token is not valid.";
  find("token").focus();
}

find("access").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, find("token").value.trim());
  find("token").value = "";
  find("access").hidden = true;
  find("refused").textContent = "";
  locked = false;
  start();
});

async function start() {
  try {
    const answer = await ask("model");
    if (answer.status === 401) return askForToken();
    showModel(await answer.json());
  } catch {
    find("learned").textContent = "The server does not answer. Try again later.";
  }
  work();
}

// ---- Ways in: choose, take, drop, paste

for (const id of ["choose", "take"]) {
  find(id).addEventListener("change", (event) => {
    receive(event.target.files);
    event.target.value = "";
  });
}

for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    const leaves = kind === "drop" || (kind === "dragleave" && event.relatedTarget === null);
    document.body.classList.toggle("dragging", !leaves);
    if (kind === "drop") receive(event.dataTransfer.files);
  });
}

document.addEventListener("paste", (event) => receive(event.clipboardData.files));

// ---- Words

function say(text) { find("status").textContent = text; }

function element(name, style = "", text = "") {
  const made = document.createElement(name);
  if (style) made.className = style;
  if (text) made.textContent = text;
  return made;
}

function blank(text) { return element("div", "blank", text); }

function number(value) { return value.toLocaleString("en"); }

function percent(share) {
  const value = 100 * share;
  if (value > 99.9 && value < 100) return "> 99.9 %";
  if (value < 0.1) return value === 0 ? "0 %" : "< 0.1 %";
  return `${value.toFixed(value < 10 || value > 90 ? 1 : 0)} %`;
}

function megabytes(bytes) { return `${Math.floor(bytes / 1048576)} MB`; }

function sentence(text) {
  const end = text.endsWith(".") ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + end;
}

takeTokenOfAddress();
start();
