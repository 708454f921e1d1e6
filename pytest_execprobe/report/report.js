// The list of units and their process trees. All that comes from the report reaches the page as text alone, by
// textContent and the like; the page's policy refuses anything else.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const texts = data.texts;
  const column = Object.fromEntries(data.columns.map((name, index) => [name, index]));
  const byId = (id) => document.getElementById(id);
  const numbers = new Intl.NumberFormat("en");

  const ROW = 26; // pixels, as in the style sheet
  const UNIT = 41;
  const BEYOND = 400; // pixels that are rendered above and below what is to be seen
  const DEEPEST = 24; // levels that are indented
  const PRINTED = 500; // units, and rows of each

  // ---- words ----

  const text = (place) => (place < 0 ? null : texts[place]);
  const counted = (count, one, many) => `${numbers.format(count)} ${count === 1 ? one : many}`;
  const execs = (count) => counted(count, "exec", "execs");

  function duration(ns) {
    const digits = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
    if (ns >= 6e10) return `${Math.floor(ns / 6e10)} min ${Math.floor((ns % 6e10) / 1e9)} s`;
    return ns >= 1e9 ? `${digits(ns / 1e9)} s` : `${digits(ns / 1e6)} ms`;
  }

  function ending(row) {
    if (row[column.stopped]) return "stopped before it ran";
    if (row[column.signal] >= 0) return text(row[column.signal]);
    if (row[column.exit] !== null) return `exit ${row[column.exit]}`;
    return row[column.became] >= 0 ? `→ ${text(row[column.became])}` : "";
  }

  const failed = (row) => row[column.signal] >= 0 || (row[column.exit] !== null && row[column.exit] !== 0);

  function endingInFull(row) {
    if (row[column.stopped]) return "stopped before it ran, by SIGKILL";
    if (row[column.signal] >= 0) return `killed by ${text(row[column.signal])}`;
    if (row[column.exit] !== null) return `with exit code ${row[column.exit]}`;
    return row[column.became] >= 0 ? `became ${text(row[column.became])} by another exec` : "not known";
  }

  // ---- elements ----

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children.filter((child) => child !== null)); // a text becomes a text node
    return made;
  }

  function button(className, ...children) {
    const made = element("button", className, ...children);
    made.type = "button";
    return made;
  }

  function facts(pairs) {
    const list = element("dl", "facts");
    for (const [name, value] of pairs) {
      if (value === null || value === "") continue;
      list.append(element("div", "", element("dt", "", name), element("dd", "", value)));
    }
    return list;
  }

  // ---- a list of which only what is in sight is in the page ----

  class Rows {
    // ``viewport`` scrolls, or the page if it is null. ``make(key)`` gives the element of a key, ``height`` is what it
    // is taken to be high until it has been measured.
    constructor(holder, viewport, height, make) {
      Object.assign(this, { holder, viewport, height, make });
      this.keys = [];
      this.sizes = new Map();
      this.shown = new Map();
      this.offsets = new Float64Array(1);
      this.whole = false;
      this.observer = new ResizeObserver((entries) => this.measured(entries));
      (viewport ?? window).addEventListener("scroll", () => this.soon(), { passive: true });
      if (!viewport) window.addEventListener("resize", () => this.soon());
      holder.addEventListener("keydown", (event) => this.pressed(event));
    }

    set(keys) {
      this.keys = keys;
      this.clear();
      this.layOut();
      this.render();
    }

    clear() {
      this.observer.disconnect();
      this.shown.clear();
      this.holder.replaceChildren();
    }

    layOut() {
      const offsets = new Float64Array(this.keys.length + 1);
      this.keys.forEach((key, index) => {
        offsets[index + 1] = offsets[index] + (this.sizes.get(key) ?? this.height);
      });
      this.offsets = offsets;
      this.holder.style.height = this.whole ? "" : `${offsets[this.keys.length]}px`;
    }

    // The index of what is at a height.
    at(height) {
      let low = 0;
      let high = Math.max(0, this.keys.length - 1);
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (this.offsets[middle] <= height) low = middle;
        else high = middle - 1;
      }
      return low;
    }

    soon() {
      this.pending ??= requestAnimationFrame(() => {
        this.pending = undefined;
        this.render();
      });
    }

    render() {
      if (!this.holder.isConnected) return;
      const wanted = new Set();
      if (this.whole) {
        for (let index = 0; index < Math.min(PRINTED, this.keys.length); index++) wanted.add(index);
      } else if (this.keys.length) {
        const box = this.holder.getBoundingClientRect();
        const top = (this.viewport ? this.viewport.getBoundingClientRect().top : 0) - box.top;
        const bottom = top + (this.viewport ? this.viewport.clientHeight : window.innerHeight);
        for (let index = this.at(top - BEYOND); index <= this.at(bottom + BEYOND); index++) wanted.add(index);
      }
      const focused = this.focused();
      if (focused >= 0) wanted.add(focused); // what has the focus does not lose it by being scrolled away
      for (const [index, item] of this.shown) {
        if (wanted.has(index)) continue;
        this.observer.unobserve(item);
        item.remove();
        this.shown.delete(index);
      }
      let next = this.holder.firstElementChild;
      for (const index of [...wanted].sort((one, other) => one - other)) {
        let item = this.shown.get(index);
        if (item === undefined) {
          item = this.make(this.keys[index], index);
          item.dataset.index = index;
          item.setAttribute("aria-setsize", this.keys.length);
          item.setAttribute("aria-posinset", index + 1);
          this.shown.set(index, item);
          this.holder.insertBefore(item, next);
          this.observer.observe(item);
        } else {
          next = item.nextElementSibling;
        }
        item.style.top = this.whole ? "" : `${this.offsets[index]}px`;
      }
    }

    focused() {
      const item = document.activeElement?.closest("[data-index]");
      return item?.parentElement === this.holder ? Number(item.dataset.index) : this.focusedWithin();
    }

    focusedWithin() {
      for (const [index, item] of this.shown) if (item.contains(document.activeElement)) return index;
      return -1;
    }

    measured(entries) {
      let changed = false;
      for (const { target } of entries) {
        const key = this.keys[Number(target.dataset.index)];
        const size = target.getBoundingClientRect().height;
        if (!target.isConnected || !size || Math.abs(size - (this.sizes.get(key) ?? this.height)) < 0.5) continue;
        this.sizes.set(key, size);
        changed = true;
      }
      if (!changed || this.whole) return;
      this.layOut();
      this.render();
    }

    reveal(index) {
      const top = this.offsets[index];
      if (this.viewport) {
        const sticky = this.viewport.querySelector(".axis")?.offsetHeight ?? 0;
        const room = this.viewport.clientHeight - sticky - ROW;
        const now = this.viewport.scrollTop;
        if (top < now || top > now + room) this.viewport.scrollTop = Math.max(0, top - room / 3);
      } else {
        const tools = byId("tools").offsetHeight;
        window.scrollTo(0, this.holder.getBoundingClientRect().top + window.scrollY + top - tools - 8);
      }
      this.render();
      return this.shown.get(index);
    }

    pressed(event) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const item = event.target.closest("[data-index]");
      if (!step || item?.parentElement !== this.holder || !event.target.matches("[data-main]")) return;
      const index = Number(item.dataset.index) + step;
      if (index < 0 || index >= this.keys.length) return;
      event.preventDefault();
      let next = this.shown.get(index);
      if (next === undefined) next = this.reveal(index);
      next?.querySelector("[data-main]").focus();
    }

    print(whole) {
      this.whole = whole;
      this.holder.classList.toggle("whole", whole);
      this.layOut();
      this.render();
    }
  }

  // ---- a process tree on a time line ----

  function ticks(length) {
    const rough = length / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
    const found = [];
    for (let at = 0; at < length * 0.92; at += step) found.push(at);
    return { step, found };
  }

  // Ticks are round numbers: 20 ms, not 20.0 ms.
  const round = (ns) => (ns === 0 ? "0" : duration(ns).replace(/\.0+(?= )|(?<=\.\d+?)0+(?= )/, ""));

  // Whether it was looked up where what ran comes from: then trees have a column of it.
  const HAS_ORIGINS = data.units.some((unit) => [...unit.records, ...unit.strays].some((row) => row[column.origin] >= 0));
  const origins = (...cells) => (HAS_ORIGINS ? cells : []);

  class Tree {
    // ``lines`` are those of the tree where they are not just the execs, ``folds`` into which line each is folded.
    constructor(title, unit, rows, length, phases, lines, folds) {
      this.unit = unit;
      this.records = rows;
      this.lines = lines.length ? lines : rows.map((_, index) => index);
      this.folds = folds;
      this.heads = new Set(folds); // the lines that others are folded into
      this.unfolded = new Set();
      this.length = Math.max(length, 1000);
      this.open = new Set();
      this.matches = null;
      this.scroller = element("div", HAS_ORIGINS ? "scroller with-origins" : "scroller");
      this.holder = element("div", "rows");
      this.holder.setAttribute("role", "list");
      this.holder.setAttribute("aria-label", `${title} of ${unit.name}`);
      this.scroller.append(this.axis(phases), this.holder);
      this.found = element("span", "found");
      this.element = element("section", "tree", element("div", "tree-head", element("h4", "", title), this.found), this.scroller);
      this.list = new Rows(this.holder, this.scroller, ROW, (line) => this.item(line));
      this.top = 0;
      this.scroller.addEventListener("scroll", () => (this.top = this.scroller.scrollTop), { passive: true });
    }

    percent(ns) {
      return `${Math.min(100, Math.max(0, (100 * ns) / this.length)).toFixed(3)}%`;
    }

    axis(phases) {
      const lane = element("span", "lane");
      const { step, found } = ticks(this.length);
      for (const at of found) {
        const tick = element("span", "tick", round(at));
        tick.style.left = this.percent(at);
        lane.append(tick);
      }
      const bands = [];
      for (const [phase, begin, end] of phases) {
        const roomy = end - begin > this.length * 0.12; // for its name
        const band = element("span", `band ${phase}`, roomy ? phase : "");
        band.title = `${phase}: ${duration(end - begin)}`;
        band.style.left = this.percent(begin);
        band.style.width = this.percent(end - begin);
        lane.append(band);
        const color = `var(--${phase})`;
        const [from, to] = [this.percent(begin), this.percent(end)];
        bands.push(`linear-gradient(to right, transparent ${from}, ${color} ${from}, ${color} ${to}, transparent ${to})`);
      }
      const mark = this.percent(step);
      bands.push(`repeating-linear-gradient(to right, var(--grid) 0 1px, transparent 1px ${mark})`);
      this.scroller.style.setProperty("--lane", bands.join(", "));
      const heads = [["command", "program and arguments"], ...origins(["origin", "comes from"]), ["pid", "pid"], ["end", "ended"], ["took", "took"]];
      return element("div", "axis line", ...heads.map(([name, title]) => element("span", name, title)), lane);
    }

    // The lines that are not folded.
    visible() {
      const shown = new Uint8Array(this.lines.length);
      return this.lines.flatMap((_, line) => {
        const fold = this.folds[line] ?? -1;
        shown[line] = fold < 0 || (shown[fold] && this.unfolded.has(fold)) ? 1 : 0;
        return shown[line] ? [line] : [];
      });
    }

    item(line) {
      const entry = this.lines[line];
      return typeof entry === "number" ? this.row(entry) : this.note(line, ...entry);
    }

    // A process without an exec, or what others are folded into.
    note(line, level, place, at, pid) {
      const item = element("div", "row");
      item.setAttribute("role", "listitem");
      item.setAttribute("aria-level", level + 1);
      const command = this.indented(level);
      command.append(texts[place]);
      const lane = element("span", "lane");
      if (at !== null) {
        const bar = element("span", "bar open");
        bar.style.left = `min(${this.percent(at)}, 100% - 3px)`;
        lane.append(bar);
      }
      const number = element("span", "pid", pid === null ? "" : String(pid));
      const cells = [command, ...origins(element("span", "origin")), number, element("span", "end"), element("span", "took"), lane];
      const main = this.heads.has(line) ? button("line note", ...cells) : element("div", "line note", ...cells);
      main.dataset.main = "";
      main.tabIndex = 0;
      main.title = texts[place];
      if (this.heads.has(line)) {
        main.setAttribute("aria-expanded", this.unfolded.has(line));
        main.addEventListener("click", () => {
          if (!this.unfolded.delete(line)) this.unfolded.add(line);
          const index = this.list.keys.indexOf(line);
          this.list.set(this.visible());
          this.list.shown.get(index)?.querySelector("[data-main]").focus({ preventScroll: true });
        });
      }
      item.append(main);
      return item;
    }

    indented(level) {
      const cell = element("span", "command");
      cell.style.setProperty("--level", Math.min(level, DEEPEST));
      if (level > DEEPEST) cell.append(element("span", "deep", `${level + 1}. `));
      return cell;
    }

    // Goes to an exec, wherever it is folded.
    reveal(index) {
      this.places ??= new Map(this.lines.map((entry, line) => [entry, line]));
      const line = this.places.get(index);
      const before = this.unfolded.size;
      for (let fold = this.folds[line] ?? -1; fold >= 0; fold = this.folds[fold]) this.unfolded.add(fold);
      if (this.unfolded.size > before) this.list.set(this.visible());
      return this.list.reveal(this.list.keys.indexOf(line));
    }

    row(index) {
      const row = this.records[index];
      const level = row[column.level];
      const item = element("div", "row");
      item.setAttribute("role", "listitem");
      item.setAttribute("aria-level", level + 1);
      const line = button("line", this.command(row), ...this.cells(row), this.lane(row));
      line.dataset.main = "";
      line.title = this.hint(row);
      line.setAttribute("aria-expanded", this.open.has(index));
      line.addEventListener("click", () => {
        if (!this.open.delete(index)) this.open.add(index);
        line.setAttribute("aria-expanded", this.open.has(index));
        item.querySelector(".detail")?.remove();
        if (this.open.has(index)) item.append(this.detail(row, index));
      });
      item.append(line);
      if (this.matches?.has(index)) item.classList.add("match");
      if (this.open.has(index)) item.append(this.detail(row, index));
      return item;
    }

    command(row) {
      const cell = this.indented(row[column.level]);
      if (row[column.again]) cell.append(element("span", "again", "→ ")); // the process of the rows above
      const command = text(row[column.command]);
      const path = text(row[column.path]);
      // A path that needed quotes is shown as it is, quoted.
      if (path !== null && (command === path || command.startsWith(`${path} `))) {
        const name = path.lastIndexOf("/") + 1;
        cell.append(element("span", "folder", path.slice(0, name)), element("b", "", path.slice(name)), command.slice(path.length));
      } else {
        cell.append(command);
      }
      return cell;
    }

    cells(row) {
      const lasted = row[column.duration];
      return [
        ...origins(element("span", row[column.odd] ? "origin odd" : "origin", text(row[column.origin]) ?? "")),
        element("span", "pid", row[column.again] ? "" : String(row[column.pid])),
        element("span", failed(row) ? "end bad" : "end", ending(row)),
        element("span", "took", lasted === null ? "?" : duration(lasted)),
      ];
    }

    lane(row) {
      const lasted = row[column.duration];
      const end = lasted === null ? this.length : row[column.at] + lasted;
      const bar = element("span", "bar");
      bar.style.left = `min(${this.percent(row[column.at])}, 100% - 3px)`;
      bar.style.width = this.percent(Math.min(end, this.length) - row[column.at]);
      if (failed(row)) bar.classList.add("bad");
      if (lasted === null) bar.classList.add("open");
      else if (end > this.length) bar.classList.add("beyond");
      if (row[column.shared]) bar.classList.add("shared");
      return element("span", "lane", bar);
    }

    hint(row) {
      const lasted = row[column.duration];
      const lines = [
        text(row[column.command]),
        `pid ${row[column.pid]}, begun at +${duration(row[column.at])}, took ${lasted === null ? "an unknown time" : duration(lasted)}`,
        `ended: ${endingInFull(row)}`,
        ...origins(`comes from: ${text(row[column.origin]) ?? "not looked up"}`),
      ];
      return lines.join("\n");
    }

    detail(row, index) {
      const argv = row[column.argv];
      const list = element("ol", "argv");
      list.start = 0;
      for (const place of argv ?? []) list.append(element("li", "", element("code", "", texts[place])));
      const left = row[column.cut];
      const more = left < 0 ? "… and more, of which the probe kept no more" : left ? `… ${numbers.format(left)} characters more: the report as JSON has them` : null;
      const parent = row[column.parent];
      let above = text(row[column.above]);
      if (above === null) {
        const record = this.records[parent];
        above = button("plain", `${text(record[column.program])}, pid ${record[column.pid]}`);
        above.addEventListener("click", () => this.reveal(parent)?.querySelector("[data-main]").focus());
      }
      const lasted = row[column.duration];
      const begun = text(row[column.begun]);
      return element(
        "div",
        "detail",
        argv === null ? element("p", "", "The arguments could not be read.") : list,
        more === null ? null : element("p", "", more),
        facts([
          ["path", text(row[column.path]) ?? "not known"],
          ["executable", text(row[column.executable]) ?? "not known"],
          ["interpreter", text(row[column.interpreter])],
          ["script", text(row[column.script])],
          ["comes from", text(row[column.origin]) ?? "not looked up"],
          ["in folder", text(row[column.cwd]) ?? "not known"],
          ["pid", String(row[column.pid])],
          ["parent's pid", row[column.ppid] === null ? "not known" : String(row[column.ppid])],
          ["started by", above],
          ["user, group", `${row[column.uid]}, ${row[column.gid]}`],
          ["begun at", `+${duration(row[column.at])}`],
          ["took", lasted === null ? "not known: it may have gone on" : duration(lasted)],
          ["ended", endingInFull(row)],
          ["phase", row[column.phase]],
          ["branch begun by", begun === null ? null : row[column.shared] ? `${begun}, which was over` : begun],
          ["called at", text(row[column.site])],
          ["called through", text(row[column.through])],
          ["depth", row[column.depth] === null ? "not known: a record above it was lost" : String(row[column.depth])],
        ]),
      );
    }

    // The rows that fit the search, if it is about execs at all.
    mark(fits) {
      const found = fits === null ? null : this.records.flatMap((row, index) => (fits(row) ? [index] : []));
      this.matches = found === null ? null : new Set(found);
      this.found.replaceChildren();
      if (found?.length) {
        let place = -1;
        const go = (step) => {
          place = (place + step + found.length) % found.length;
          this.reveal(found[place])?.querySelector("[data-main]").focus({ preventScroll: true });
        };
        const back = button("", "previous");
        const on = button("", "next");
        back.addEventListener("click", () => go(place < 0 ? 0 : -1));
        on.addEventListener("click", () => go(1));
        this.found.append(`${numbers.format(found.length)} of these fit the search `, back, on);
      }
      for (const [index, item] of this.list.shown) {
        item.classList.toggle("match", this.matches?.has(this.lines[this.list.keys[index]]) ?? false);
      }
    }

    // Once it is in the page.
    attached() {
      if (!this.list.keys.length) this.list.set(this.visible());
      this.scroller.scrollTop = this.top;
      this.list.render();
    }
  }

  // ---- units ----

  const units = data.units.map((unit, index) => {
    const rows = [...unit.records, ...unit.strays];
    return {
      ...unit,
      index,
      rows,
      lower: unit.name.toLowerCase(),
      complete: !unit.lost && !unit.unknown.length && unit.unchecked === null,
      programs: new Set(rows.map((row) => row[column.program])),
    };
  });
  const mostExecs = Math.max(1, ...units.map((unit) => unit.rows.length));
  const panels = new Map(); // of the units that are open
  const severalRuns = data.runs.length > 1;

  // Units of one name are distinguished by their number.
  const named = new Map();
  for (const unit of units) named.set(unit.name, [...(named.get(unit.name) ?? []), unit]);

  function address(unit) {
    const search = new URLSearchParams({ unit: unit.name });
    const nth = named.get(unit.name).indexOf(unit);
    if (nth) search.set("nth", String(nth + 1));
    return `#${search}`;
  }

  function tag(className, label, title) {
    const made = element("span", `tag ${className}`, label);
    if (title) made.title = title;
    return made;
  }

  function unitName(unit) {
    const cut = unit.kind === "test" ? unit.name.indexOf("::") : -1;
    const name = element("span", "name");
    if (cut < 0) name.append(element("b", "", unit.name));
    else name.append(element("span", "folder", unit.name.slice(0, cut + 2)), element("b", "", unit.name.slice(cut + 2)));
    name.title = unit.name;
    return name;
  }

  // Nothing that was not recorded may read as if it had not been.
  function ranIn(unit) {
    if (unit.complete) return execs(unit.records.length);
    return unit.records.length || unit.unchecked === null ? `${numbers.format(unit.records.length)}+ execs` : "not known";
  }

  function unitItem(unit) {
    const item = element("div", "unit");
    item.setAttribute("role", "listitem");
    const tags = element("span", "tags");
    if (unit.kind !== "test") tags.append(tag("kind", data.kinds[unit.kind]));
    if (unit.worker !== null) tags.append(tag("worker", unit.worker));
    if (severalRuns) tags.append(tag("worker", `run ${unit.run + 1}`, data.runs[unit.run].label));
    const late = unit.breaches.some((breach) => breach.late);
    const excused = !late && (unit.outcome === "xfailed" || unit.outcome === "rerun");
    const broken = unit.breaches.filter((breach) => !breach.undecided).length;
    if (broken) tags.append(tag(excused ? "excused" : "broken", counted(broken, "broken rule", "broken rules")));
    if (unit.breaches.length > broken) tags.append(tag("undecided", `${unit.breaches.length - broken} undecided`));
    if (unit.unchecked !== null) tags.append(tag("undecided", "not checked", unit.unchecked));
    if (unit.lost) tags.append(tag("undecided", `${numbers.format(unit.lost)} lost`));
    if (unit.unknown.length) tags.append(tag("undecided", "incomplete", unit.unknown.join("\n")));
    if (unit.strays.length) tags.append(tag("strays", counted(unit.strays.length, "stray", "strays")));
    if (unit.outcome !== null) tags.append(tag(`outcome ${unit.outcome}`, unit.outcome));
    const share = element("span", "share");
    share.style.setProperty("--share", `${(100 * unit.rows.length) / mostExecs}%`);
    const main = button(
      "unit-line",
      unitName(unit),
      tags,
      share,
      element("span", "number", ranIn(unit)),
      element("span", "took", unit.took === null ? "" : duration(unit.took)),
    );
    main.dataset.main = "";
    main.setAttribute("aria-expanded", panels.has(unit));
    main.setAttribute("aria-controls", `panel-${unit.index}`);
    main.addEventListener("click", () => toggle(unit));
    item.append(element("h3", "", main));
    const panel = panels.get(unit);
    if (panel) {
      item.append(panel.element);
      queueMicrotask(() => panel.trees.forEach((tree) => tree.attached()));
    }
    return item;
  }

  function toggle(unit) {
    if (!panels.delete(unit)) panels.set(unit, makePanel(unit));
    list.sizes.delete(unit);
    for (const [index, item] of list.shown) {
      if (list.keys[index] !== unit) continue;
      const panel = panels.get(unit);
      item.querySelector("[data-main]").setAttribute("aria-expanded", panel !== undefined);
      item.querySelector(".panel")?.remove();
      if (panel) {
        item.append(panel.element);
        panel.trees.forEach((tree) => tree.attached());
      }
    }
    state.unit = panels.has(unit) ? unit : null;
    remember();
  }

  function makePanel(unit) {
    const panel = element("div", "panel");
    panel.id = `panel-${unit.index}`;
    const link = element("a", "", "link to this");
    link.href = address(unit);
    const phases = unit.phases.map(([phase, begin, end]) => `${phase} ${duration(end - begin)}`).join(", ");
    panel.append(
      facts([
        ["name", unit.name],
        ["at", unit.place],
        ["kind", data.kinds[unit.kind]],
        ["outcome", unit.outcome],
        ["worker", unit.worker],
        ["run", severalRuns ? data.runs[unit.run].label : null],
        ["begun", unit.begins === null ? null : `${duration(Math.max(0, unit.begins))} after the run did`],
        ["phases", unit.phases.length > 1 ? phases : null],
        ["", link],
      ]),
    );
    if (!unit.complete) {
      const reasons = element("ul", "");
      if (unit.lost) reasons.append(element("li", "", `${execs(unit.lost)} found the perf buffer full and are not listed`));
      for (const why of unit.unknown) reasons.append(element("li", "", `an unknown number is missing: ${why}`));
      if (unit.unchecked !== null) reasons.append(element("li", "", `not checked: ${unit.unchecked}`));
      panel.append(element("div", "notice", element("strong", "", "Not every exec is listed here"), reasons));
    }
    for (const breach of unit.breaches) {
      const kind = breach.undecided ? "undecided" : "broken";
      const head = element("p", "breach-head", tag("", kind), element("strong", "", breach.headline));
      panel.append(element("div", `breach ${kind}`, head, breach.text ? element("pre", "", breach.text) : null));
    }
    const trees = [];
    if (unit.records.length) trees.push(new Tree(ranIn(unit), unit, unit.records, unit.length, unit.phases, unit.lines, unit.folds));
    else panel.append(element("p", "none", unit.complete ? "Nothing ran." : "Nothing was recorded."));
    if (unit.strays.length) {
      const after = duration(Math.max(0, unit.strays_after));
      const title = `${counted(unit.strays.length, "stray", "strays")}: left behind detached, and ran from +${after} on`;
      trees.push(new Tree(title, unit, unit.strays, unit.strays_length, [], unit.stray_lines, unit.stray_folds));
    }
    trees.forEach((tree) => {
      tree.mark(fits);
      panel.append(tree.element);
    });
    return { element: panel, trees };
  }

  const list = new Rows(byId("list"), null, UNIT, unitItem);

  // ---- search ----

  const CHOICES = ["program", "kind", "outcome", "worker", "run", "sort"];
  const CHECKS = ["breaches", "strays", "incomplete"];
  const state = { unit: null };
  let lower = null; // the commands, in small letters; made when first needed, or when there is time
  let fits = null; // whether a row fits the search, null if the search is about no rows

  function prepare() {
    if (lower !== null) return;
    lower = [];
    for (const unit of units) {
      for (const row of unit.rows) lower[row[column.command]] ??= texts[row[column.command]].toLowerCase();
    }
  }

  function search() {
    performance.mark("search-begins");
    prepare();
    const terms = byId("q").value.toLowerCase().split(/\s+/).filter(Boolean);
    // Each command is looked at once, however often it ran.
    const hits = terms.map((term) => {
      const found = new Uint8Array(texts.length);
      lower.forEach((command, place) => {
        if (command.includes(term)) found[place] = 1;
      });
      return found;
    });
    const chosen = Object.fromEntries(CHOICES.map((id) => [id, byId(id).value]));
    const checked = Object.fromEntries(CHECKS.map((id) => [id, byId(id).checked]));
    const program = chosen.program === "" ? -1 : Number(chosen.program);
    const suits = (unit) =>
      (program < 0 || unit.programs.has(program)) &&
      (chosen.kind === "" || unit.kind === chosen.kind) &&
      (chosen.outcome === "" || unit.outcome === chosen.outcome) &&
      (chosen.worker === "" || unit.worker === chosen.worker) &&
      (chosen.run === "" || unit.run === Number(chosen.run)) &&
      (!checked.breaches || unit.breaches.length > 0) &&
      (!checked.strays || unit.strays.length > 0) &&
      (!checked.incomplete || !unit.complete) &&
      terms.every((term, place) => unit.lower.includes(term) || unit.rows.some((row) => hits[place][row[column.command]]));
    const orders = {
      execs: (one, other) => other.rows.length - one.rows.length,
      name: (one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0),
      took: (one, other) => (other.took ?? -1) - (one.took ?? -1),
      recorded: () => 0,
    };
    const found = units.filter(suits).sort(orders[chosen.sort]);
    const aboutRows = program >= 0 || hits.some((hit) => hit.includes(1));
    fits = aboutRows
      ? (row) => (program < 0 || row[column.program] === program) && (!terms.length || hits.some((hit) => hit[row[column.command]]))
      : null;
    panels.forEach((panel) => panel.trees.forEach((tree) => tree.mark(fits)));
    list.set(found);
    const ran = found.reduce((sum, unit) => sum + unit.rows.length, 0);
    byId("status").textContent = `${numbers.format(found.length)} of ${numbers.format(units.length)}, ${execs(ran)}`;
    byId("nothing").hidden = found.length > 0;
    performance.measure("search", "search-begins");
  }

  function options(id, choices, label = (value) => value) {
    byId(id).append(...choices.map((value) => Object.assign(element("option", "", label(value)), { value })));
    return choices;
  }

  function several(id, values, label) {
    const choices = options(id, [...new Set(values)].filter((value) => value !== null).sort(), label);
    byId(id).closest("label").hidden = choices.length < 2;
  }

  const programs = new Map();
  for (const unit of units) for (const row of unit.rows) programs.set(row[column.program], (programs.get(row[column.program]) ?? 0) + 1);
  options(
    "program",
    [...programs.keys()].sort((one, other) => programs.get(other) - programs.get(one) || (texts[one] < texts[other] ? -1 : 1)),
    (place) => `${texts[place]} (${numbers.format(programs.get(place))})`,
  );
  several("kind", units.map((unit) => unit.kind), (kind) => data.kinds[kind]);
  several("outcome", units.map((unit) => unit.outcome));
  several("worker", units.map((unit) => unit.worker));
  several("run", units.map((unit) => unit.run), (run) => `${run + 1}: ${data.runs[run].label}`);
  if (!units.some((unit) => unit.breaches.length)) byId("breaches").closest("label").hidden = true;
  if (!units.some((unit) => unit.strays.length)) byId("strays").closest("label").hidden = true;
  if (units.every((unit) => unit.complete)) byId("incomplete").closest("label").hidden = true;

  // ---- the address keeps the search ----

  function remember() {
    const kept = new URLSearchParams();
    if (byId("q").value) kept.set("q", byId("q").value);
    for (const id of CHOICES) {
      const value = byId(id).value;
      if (id === "program" ? value !== "" : value !== byId(id).options[0].value) {
        kept.set(id, id === "program" ? texts[Number(value)] : value);
      }
    }
    for (const id of CHECKS) if (byId(id).checked) kept.set(id, "1");
    if (state.unit) {
      for (const [name, value] of new URLSearchParams(address(state.unit).slice(1))) kept.set(name, value);
    }
    const hash = kept.toString() ? `#${kept}` : "#";
    try {
      history.replaceState(null, "", hash);
    } catch {
      // Some browsers keep no history of files: then the address does not follow.
    }
  }

  function recall() {
    const kept = new URLSearchParams(location.hash.slice(1));
    byId("q").value = kept.get("q") ?? "";
    for (const id of CHOICES) {
      const choice = byId(id);
      const wanted = kept.get(id);
      const found = [...choice.options].find((option) =>
        id === "program" && option.value !== "" ? texts[Number(option.value)] === wanted : option.value === wanted,
      );
      choice.value = found?.value ?? choice.options[0].value;
    }
    for (const id of CHECKS) byId(id).checked = kept.has(id);
    search();
    const unit = named.get(kept.get("unit"))?.[Number(kept.get("nth") ?? 1) - 1];
    const index = unit === undefined ? -1 : list.keys.indexOf(unit);
    if (index < 0) return;
    const item = list.reveal(index);
    if (!panels.has(unit)) toggle(unit);
    item?.querySelector("[data-main]").focus({ preventScroll: true });
    requestAnimationFrame(() => list.reveal(index)); // once heights are known
  }

  function changed() {
    state.unit = null;
    search();
    remember();
  }

  let typing = 0;
  byId("q").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(changed, 60);
  });
  byId("tools").addEventListener("change", (event) => event.target.id !== "q" && changed());
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    byId("tools").reset();
    changed();
    byId("q").focus();
  });
  for (const made of document.querySelectorAll("button.program")) {
    made.addEventListener("click", () => {
      const place = [...programs.keys()].find((candidate) => texts[candidate] === made.dataset.program);
      if (place === undefined) return;
      byId("program").value = String(place);
      changed();
      byId("units").scrollIntoView();
      byId("program").focus({ preventScroll: true });
    });
  }
  window.addEventListener("hashchange", () => {
    if (location.hash !== "#units") recall();
  });

  // ---- on paper everything is there, within reason ----

  const everyList = () => [list, ...[...panels.values()].flatMap((panel) => panel.trees.map((tree) => tree.list))];
  window.addEventListener("beforeprint", () => {
    everyList().forEach((one) => one.print(true));
    everyList().forEach((one) => one.render()); // units that came into the page brought their trees
    const left = list.keys.length - PRINTED;
    byId("unprinted").textContent = `… ${numbers.format(left)} more are not printed: search for less.`;
    byId("unprinted").hidden = left <= 0;
  });
  window.addEventListener("afterprint", () => {
    everyList().forEach((one) => one.print(false));
    byId("unprinted").hidden = true;
  });

  if (location.hash === "#units") search();
  else recall();
  (window.requestIdleCallback ?? setTimeout)(prepare);
})();
