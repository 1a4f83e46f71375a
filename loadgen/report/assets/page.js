"use strict";
// Draws the plots of a page from the JSON document in it. It computes no number: it only lays out, colours and labels.
const drawing = (() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const PRINT_WIDTH = 680;
  const charts = new Map();
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const palette = () => [0, 1, 2, 3, 4, 5, 6, 7].map((number) => token(`--c${number}`));
  const DASHES = ["solid", [7, 3], [2, 2], [10, 3, 2, 3]];

  const digits = (value) => Number(value.toPrecision(3)).toLocaleString("en-US", { maximumFractionDigits: 6 });
  const duration = (ms) =>
    ms === 0 ? "0" : ms >= 1000 ? `${digits(ms / 1000)} s` : ms >= 1 ? `${digits(ms)} ms` : ms >= 0.001 ? `${digits(ms * 1000)} µs` : `${digits(ms * 1e6)} ns`;
  const percentile = (x) => {
    const nines = Math.round(Math.log10(x));
    return nines === 0 ? "0 %" : nines === 1 ? "90 %" : `99${nines > 2 ? "." : ""}${"9".repeat(nines - 2)} %`;
  };
  const quantile = (x) => `${Number((100 * (1 - 1 / x)).toPrecision(2 + Math.ceil(Math.log10(x + 1))))} %`;

  // Names of runs end in what tells them apart.
  const short = (name, narrow) => {
    const room = narrow ? 18 : 30, tail = 10;
    return name.length > room ? `${name.slice(0, room - tail - 1)}…${name.slice(-tail)}` : name;
  };

  // Built of text nodes: nothing in a name is ever read as HTML.
  const tip = (lines) => {
    const box = document.createElement("div");
    lines.forEach((line, number) => {
      const row = document.createElement("div");
      row.textContent = line;
      if (number === 0) row.style.fontWeight = "600";
      box.append(row);
    });
    return box;
  };

  const base = (narrow) => ({
    animation: false,
    color: palette(),
    backgroundColor: "transparent",
    textStyle: { color: token("--ink"), fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 12 },
    grid: { left: 8, right: narrow ? 22 : 34, top: 36, bottom: 8, containLabel: true },
    legend: {
      type: "scroll", top: 0, left: 0, right: 0, itemWidth: 28, itemGap: 14, textStyle: { color: token("--ink") }, formatter: (name) => short(name, narrow),
      pageTextStyle: { color: token("--ink") }, pageIconColor: token("--link"), pageIconInactiveColor: token("--line"),
    },
    tooltip: {
      confine: true, backgroundColor: token("--paper"), borderColor: token("--line"),
      textStyle: { color: token("--ink"), fontSize: 12 },
    },
  });
  // A few names on a phone, and those of several runs on paper, stand in lines below each other; others scroll.
  const printing = () => document.documentElement.dataset.scheme === "print";
  const named = (narrow, count) => {
    const { grid, legend } = base(narrow);
    const rows = Math.ceil(count / (narrow ? 2 : 3));
    const all = narrow ? count > 2 && count <= 4 : printing() && count > 3 && count <= 12;
    return all ? { grid: { ...grid, top: 14 + 22 * rows }, legend: { ...legend, type: "plain" } } : { grid, legend };
  };
  const axis = (more) => ({
    axisLine: { lineStyle: { color: token("--soft") } },
    axisTick: { lineStyle: { color: token("--soft") } },
    splitLine: { lineStyle: { color: token("--line") } },
    axisLabel: { color: token("--soft"), hideOverlap: true, ...more.label },
    nameTextStyle: { color: token("--soft") },
    ...more.axis,
  });
  // Powers of ten leave most of a plot empty where the values are alike; powers of two lie closer.
  const logBase = (lines) => {
    const values = lines.flatMap((line) => [...line.solid, ...line.thin].map(([, value]) => value));
    return Math.max(...values) < 100 * Math.min(...values) ? 2 : 10;
  };
  const pick = (colours, number) => colours[number % colours.length];
  const dash = (number) => DASHES[number % DASHES.length];

  const KINDS = {
    spectrum(data, narrow) {
      const colours = palette();
      const line = (entry, number, points, thin) => ({
        name: entry.name, type: "line", data: points, symbol: "none", step: "end",
        lineStyle: { width: thin ? 1 : 2, opacity: thin ? 0.75 : 1, type: dash(number), color: pick(colours, number) },
        itemStyle: { color: pick(colours, number) },
      });
      const series = data.lines.flatMap((entry, number) => [line(entry, number, entry.solid, false), line(entry, number, entry.thin, true)]);
      return {
        ...base(narrow),
        ...named(narrow, data.lines.length),
        tooltip: {
          ...base(narrow).tooltip, trigger: "axis", axisPointer: { type: "line" },
          formatter: (found) => {
            const values = new Map(found.map((point) => [point.seriesName, `${point.seriesName}: ${duration(point.value[1])}`]));
            return tip([quantile(found[0].value[0]), ...values.values()]);
          },
        },
        xAxis: axis({ axis: { type: "log", min: 1 }, label: { formatter: percentile } }),
        yAxis: axis({ axis: { type: "log", logBase: logBase(data.lines), scale: true }, label: { formatter: duration } }),
        series,
      };
    },
    heat(data, narrow) {
      const cells = data.cells.map(([column, row, count]) => [column, row, Math.log10(count), count]);
      const most = Math.max(Math.log10(data.most), 0.1);
      return {
        ...base(narrow),
        grid: { left: 8, right: narrow ? 22 : 34, top: 48, bottom: 8, containLabel: true },
        legend: undefined,
        tooltip: {
          ...base(narrow).tooltip,
          formatter: (found) => {
            const [column, row, , count] = found.value;
            return tip([data.times[column], `${data.rows[row]} to ${data.rows[row + 1]}`, `${count.toLocaleString("en-US")} handshakes`]);
          },
        },
        visualMap: {
          min: 0, max: most, dimension: 2, calculable: false, orient: "horizontal", left: 0, top: 0, itemWidth: 12, itemHeight: narrow ? 100 : 160,
          text: [`${data.most.toLocaleString("en-US")} handshakes`, "1"], textStyle: { color: token("--soft") },
          inRange: { color: [token("--heat-low"), token("--heat-high")] },
        },
        xAxis: axis({ axis: { type: "category", data: data.begins, splitLine: { show: false } }, label: { formatter: (begin) => `${begin} s` } }),
        yAxis: axis({
          axis: { type: "category", data: data.rows.slice(0, -1), splitLine: { show: false } },
          label: { interval: Math.ceil(data.rows.length * 15 / 220) - 1 },
        }),
        series: [{ type: "heatmap", data: cells, progressive: 0, emphasis: { itemStyle: { borderColor: token("--ink"), borderWidth: 1 } } }],
      };
    },
    time(data, narrow) {
      const colours = palette();
      const span = (begin) => (data.width === 1 ? `${begin} s` : `${begin} to ${begin + data.width} s`);
      return {
        ...base(narrow),
        ...named(narrow, data.lines.length),
        tooltip: {
          ...base(narrow).tooltip, trigger: "axis",
          formatter: (found) => tip([span(found[0].value[0]), ...found.map((point) => `${point.seriesName}: ${digits(point.value[1])}${data.unit}`)]),
        },
        xAxis: axis({ axis: { type: "value", max: "dataMax", minInterval: 1, splitLine: { show: false } }, label: { formatter: (second) => `${second} s` } }),
        yAxis: axis({
          axis: { type: "value", min: 0, minInterval: data.unit === "" ? 1 : 0 },
          label: { formatter: (value) => `${digits(value)}${data.unit}` },
        }),
        series: data.lines.map((line, number) => ({
          name: line.name, type: "line", data: line.points, symbolSize: 5, symbol: line.points.length === 1 ? "circle" : "none",
          stack: data.stacked ? "all" : undefined, areaStyle: data.stacked ? { opacity: 0.5 } : undefined,
          lineStyle: { width: 1.5, type: data.stacked ? "solid" : dash(number), color: pick(colours, number) },
          itemStyle: { color: pick(colours, number) },
        })),
      };
    },
    waterfall(data, narrow) {
      const colour = { cloud: token("--c0"), ours: token("--c1") };
      const bars = (side) => ({
        name: side, type: "bar", stack: "all", barWidth: "65%", itemStyle: { color: colour[side] },
        data: data.bars.map((bar) => (bar.side === side ? bar.length : null)),
        label: { show: true, position: "right", color: token("--ink"), formatter: (found) => (found.value === null ? "" : duration(found.value)) },
      });
      return {
        ...base(narrow),
        grid: { ...base(narrow).grid, right: 64 },
        tooltip: {
          ...base(narrow).tooltip,
          formatter: (found) => {
            const bar = data.bars[found.dataIndex];
            return tip([bar.stage, `${duration(bar.length)}, ${bar.side}`, `from ${duration(bar.begin)}`]);
          },
        },
        legend: { ...base(narrow).legend, data: ["cloud", "ours"] },
        xAxis: axis({ axis: { type: "value" }, label: { formatter: duration } }),
        yAxis: axis({ axis: { type: "category", inverse: true, data: data.bars.map((bar) => bar.stage) } }),
        series: [
          { type: "bar", stack: "all", silent: true, itemStyle: { color: "transparent" }, data: data.bars.map((bar) => bar.begin) },
          bars("cloud"),
          bars("ours"),
        ],
      };
    },
    stacked(data, narrow) {
      return {
        ...base(narrow),
        tooltip: {
          ...base(narrow).tooltip, trigger: "axis", axisPointer: { type: "shadow" },
          formatter: (found) => tip([data.names[found[0].dataIndex], ...found.map((part) => `${part.seriesName}: ${duration(part.value)}`)]),
        },
        grid: { ...base(narrow).grid, left: 20 },
        xAxis: axis({ axis: { type: "value" }, label: { formatter: duration } }),
        yAxis: axis({ axis: { type: "category", inverse: true, data: data.names }, label: { formatter: (name) => short(name, true) } }),
        series: data.stacks.map((stack) => ({ name: stack.name, type: "bar", stack: "all", data: stack.values, barMaxWidth: 26 })),
      };
    },
    steps(data, narrow) {
      const colours = palette();
      return {
        ...base(narrow),
        tooltip: {
          ...base(narrow).tooltip, trigger: "axis",
          formatter: (found) => tip([`${data.axis} ${data.steps[found[0].dataIndex]}`, ...found.map((point) => `${point.seriesName}: ${point.value === undefined || point.value === null ? "–" : digits(point.value)}/s`)]),
        },
        xAxis: axis({ axis: { type: "category", data: data.steps, name: data.axis, nameLocation: "middle", nameGap: 26 } }),
        yAxis: axis({ axis: { type: "value", min: 0 }, label: { formatter: (value) => `${digits(value)}/s` } }),
        grid: { ...base(narrow).grid, bottom: 26 },
        series: data.lines.map((line, number) => ({
          name: line.name, type: "line", data: line.values, symbolSize: 6,
          lineStyle: { width: 2, type: dash(number), color: pick(colours, number) }, itemStyle: { color: pick(colours, number) },
        })),
      };
    },
  };

  const draw = (holder, width) => {
    const wanted = width === undefined ? holder.clientWidth : width;
    if (wanted === 0 || plots[holder.id] === undefined) return;
    let chart = charts.get(holder);
    if (chart === undefined) {
      chart = echarts.init(holder, null, { renderer: "svg", width: wanted });
      charts.set(holder, chart);
    } else {
      chart.resize({ width: wanted });
    }
    const plot = plots[holder.id];
    chart.setOption(KINDS[plot.kind](plot.data, wanted < 480), true);
  };
  const holders = () => [...document.querySelectorAll(".plot")];
  const drawAll = (width) => holders().forEach((holder) => draw(holder, width));

  // Only what comes into sight is drawn: a page of many runs opens at once. A change of width or scheme draws again.
  const inSight = new Set();
  const seen = new IntersectionObserver(
    (entries) => entries.forEach((entry) => {
      if (entry.isIntersecting) inSight.add(entry.target);
      else inSight.delete(entry.target);
      if (entry.isIntersecting && (!charts.has(entry.target) || stale.has(entry.target))) freshen(entry.target);
    }),
    { rootMargin: "600px" },
  );
  const again = () => [...charts.keys()].forEach((holder) => draw(holder));
  let width = document.documentElement.clientWidth;
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth !== width) {
      width = document.documentElement.clientWidth;
      again();
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.scheme = "print";
    drawAll(PRINT_WIDTH);
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.scheme;
    drawAll();
  });

  // A plot whose numbers have changed: what a reader has chosen in its legend, and a tooltip, stay. One out of sight waits.
  const stale = new Set();
  const freshen = (holder) => {
    stale.delete(holder);
    const chart = charts.get(holder), plot = plots[holder.id];
    if (chart === undefined) draw(holder);
    else chart.setOption(KINDS[plot.kind](plot.data, chart.getWidth() < 480), { replaceMerge: ["series"] });
  };
  const changed = (holder) => {
    if (inSight.has(holder) && !document.hidden) freshen(holder);
    else stale.add(holder);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) [...stale].filter((holder) => inSight.has(holder)).forEach(freshen);
  });
  const watch = () => {
    const found = holders();
    found.forEach((holder) => seen.observe(holder));
    [...charts.keys()].filter((holder) => !found.includes(holder)).forEach((holder) => {
      charts.get(holder).dispose();
      charts.delete(holder);
    });
    [inSight, stale].forEach((known) => known.forEach((holder) => found.includes(holder) || known.delete(holder)));
  };
  watch();
  return { plots, changed, watch };
})();
