// The live form of a card. Data goes into the page as text only, never as HTML.

const TICK_MS = 200;
const ASK_AGAIN_MS = 4000;
const SILENT_AFTER = 2; // seconds, as in view.py

/** Make an element with a class and attributes. */
function make(tag, name, attributes = {}) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Set a text only when it differs, so that nothing is announced or laid out in vain. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Word a duration; the same words as `seconds` in words.py. */
function seconds(value) {
  const tenths = Math.max(0, Math.round(value * 10));
  if (tenths < 600) return `${(tenths / 10).toFixed(1)} s`;
  const whole = Math.floor(tenths / 10);
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** Word an age; the same words as `about` in words.py. */
function about(value) {
  const whole = Math.max(1, Math.round(value));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function silence(row, now) {
  const age = now - row.heard;
  if (!row.open || row.heard === null || age <= SILENT_AFTER) return "";
  return row.answered ? `last answer ${about(age)} ago` : `no answer yet for ${about(age)}`;
}

function cancelButton(label, send) {
  const button = make("button", "tnb-cancel", { type: "button" });
  button.textContent = label;
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    // Not `disabled`, which would throw the keyboard's focus away.
    button.setAttribute("aria-disabled", "true");
    button.textContent = "Asked…";
    send();
    // A kernel that is busy, or a server that refuses: the press may be worth repeating.
    setTimeout(() => {
      button.removeAttribute("aria-disabled");
      button.textContent = label;
    }, ASK_AGAIN_MS);
  });
  return button;
}

/** The elements of one request, alone on a card or as a row of many. */
class RowElements {
  constructor(send, isAlone, number) {
    this.chip = make("span", "tnb-chip", isAlone ? { role: "status", "aria-live": "polite" } : {});
    this.glyph = make("span", "", { "aria-hidden": "true" });
    this.word = make("span");
    this.chip.append(this.glyph, " ", this.word);
    this.title = make("span", "tnb-title");
    this.model = make("span", "tnb-model");
    this.line = make("div", "tnb-line");
    this.clock = make("span", "tnb-clock");
    this.cancel = cancelButton("Cancel", () => send({ cancel: this.row.key }));
    this.steps = isAlone ? new Steps() : null;
    this.name = isAlone ? "" : ` ${number}`;
    this.root = isAlone ? this.#card() : this.#listRow(number);
  }

  #card() {
    const root = make("div");
    const head = make("div", "tnb-head");
    head.append(this.chip, this.title, this.model, this.clock, this.cancel);
    root.append(head, this.line, this.steps.root);
    return root;
  }

  #listRow(number) {
    const root = make("div", "tnb-row", { role: "listitem" });
    const index = make("span", "tnb-number");
    index.textContent = number;
    root.append(index, this.chip, this.title, this.line, this.clock, this.cancel);
    return root;
  }

  show(row) {
    this.row = row;
    this.root.dataset.tone = row.tone;
    say(this.glyph, row.glyph);
    say(this.word, row.state);
    say(this.title, row.title);
    say(this.model, row.modelShort);
    this.model.title = row.model;
    this.cancel.setAttribute("aria-label", `Cancel ${row.title}${this.name}`);
    this.cancel.hidden = !row.open;
    this.steps?.show(row.steps);
  }

  /** Bring the clocks up to a moment. */
  tick(now) {
    const { row } = this;
    say(this.clock, seconds((row.ended ?? now) - row.started));
    const silent = silence(row, now);
    say(this.line, silent ? [row.line, silent].filter(Boolean).join(" · ") : row.line);
  }
}

/** The way of a request, from sent to done. */
class Steps {
  constructor() {
    this.root = make("ol", "tnb-steps", { "aria-label": "Steps of the request" });
    this.items = [];
  }

  show(steps) {
    steps.forEach((step, index) => this.#show(this.items[index] ?? this.#add(), step));
  }

  #add() {
    const item = { root: make("li", "tnb-step"), name: make("span"), at: make("span", "tnb-at") };
    item.root.append(item.name, item.at);
    this.root.append(item.root);
    this.items.push(item);
    return item;
  }

  #show(item, step) {
    item.root.dataset.mark = step.mark;
    if (step.mark === "now") item.root.setAttribute("aria-current", "step");
    else item.root.removeAttribute("aria-current");
    say(item.name, step.name);
    say(item.at, step.at);
  }
}

/** What stands over the rows of a batch. */
class BatchHead {
  constructor(send) {
    this.word = make("span");
    this.glyph = make("span", "", { "aria-hidden": "true" });
    const chip = make("span", "tnb-chip", { role: "status", "aria-live": "polite" });
    chip.append(this.glyph, " ", this.word);
    this.title = make("span", "tnb-title");
    this.summary = make("span", "tnb-summary");
    this.clock = make("span", "tnb-clock");
    this.cancel = cancelButton("Cancel all", () => send({ cancel: "all" }));
    this.root = make("div", "tnb-head");
    this.root.append(chip, this.title, this.summary, this.clock, this.cancel);
    this.bar = make("progress", "tnb-bar", { "aria-label": "Finished requests" });
  }

  show(head) {
    this.head = head;
    say(this.glyph, head.glyph);
    say(this.word, head.state);
    say(this.title, head.title);
    say(this.summary, head.summary);
    this.bar.max = head.total;
    this.bar.value = head.finished;
    this.cancel.hidden = !head.open;
  }

  tick(now) {
    say(this.clock, seconds((this.head.ended ?? now) - this.head.started));
  }
}

/** A card: one request, or a batch with its rows in a foldable list. */
class Board {
  constructor(send) {
    this.send = send;
    this.rows = new Map();
    this.offset = 0; // this computer's clock minus the kernel's
    this.root = make("section", "tnb-card", { role: "group", tabindex: "-1" });
  }

  /** Take a message or a saved state. */
  take({ rows, head, now }) {
    if (now !== undefined) this.offset = Date.now() / 1000 - now;
    if (this.isBatch === undefined) this.#build(head.total > 1);
    if (!this.isBatch && head.total > 1) this.#build(true);
    const focused = this.root.contains(document.activeElement) ? document.activeElement : null;
    for (const row of rows) this.#rowFor(row).show(row);
    this.#showHead(head);
    this.tick(rows.map((row) => this.rows.get(row.key)));
    // A button that went away must not send the reader back to the top of the page.
    if (focused?.hidden) this.root.focus({ preventScroll: true });
  }

  #build(isBatch) {
    const shown = [...this.rows.values()].map((elements) => elements.row);
    this.isBatch = isBatch;
    this.rows.clear();
    this.root.replaceChildren();
    if (isBatch) this.#buildBatch();
    for (const row of shown) this.#rowFor(row).show(row);
  }

  #buildBatch() {
    this.head = new BatchHead(this.send);
    this.list = make("div", "tnb-rows", { role: "list", "aria-label": "Requests", tabindex: "0" });
    this.details = make("details");
    const summary = make("summary");
    summary.textContent = "Requests";
    this.details.append(summary, this.list);
    this.details.addEventListener("toggle", () => this.tick(this.rows.values()));
    this.root.append(this.head.root, this.head.bar, this.details);
  }

  #rowFor(row) {
    const known = this.rows.get(row.key);
    if (known) return known;
    const elements = new RowElements(this.send, !this.isBatch, this.rows.size + 1);
    this.rows.set(row.key, elements);
    (this.isBatch ? this.list : this.root).append(elements.root);
    return elements;
  }

  #showHead(head) {
    this.root.dataset.tone = head.tone;
    this.root.setAttribute("aria-label", `${head.title}, request to the server`);
    this.head?.show(head);
  }

  /** Bring clocks up to date: of the rows given, or of all that are open and can be seen. */
  tick(chosen) {
    const now = Date.now() / 1000 - this.offset;
    this.head?.tick(now);
    if (this.isBatch && !this.details.open && !chosen) return;
    for (const elements of chosen ?? this.rows.values()) {
      if (chosen || elements.row.open) elements.tick(now);
    }
  }
}

/** Send to the kernel; without one there is nothing to say. */
function sender(model) {
  return (content) => {
    try {
      model.send(content);
    } catch (error) {
      console.warn("tinker_nb: the kernel cannot be reached", error);
    }
  };
}

function initialize({ model }) {
  // Once per page: the kernel learns that it was reloaded.
  sender(model)({ hello: true });
}

function render({ model, el }) {
  const board = new Board(sender(model));
  const onMessage = (message) => board.take(message);
  if (model.get("rows").length) board.take({ rows: model.get("rows"), head: model.get("head") });
  el.append(board.root);
  model.on("msg:custom", onMessage);
  sender(model)({ ask: "snapshot" });
  const timer = setInterval(() => document.hidden || board.tick(), TICK_MS);
  return () => {
    clearInterval(timer);
    model.off("msg:custom", onMessage);
  };
}

export default { initialize, render };
