// Searches sections, not pages: a result leads to the heading below which the answer is. Takes the place of how Sphinx
// searches and shows, and keeps its page. `Search._index` is what docs/making/sections.py makes.
if (typeof Search !== "undefined") {
  const IS_BACKGROUND = /^(decisions|benchmarks)\/|^(changelog|architecture|contributing|reliability)$/;
  const SHOWN = 30, AROUND = 110;
  const stemmer = new Stemmer();
  const stems = new Map();

  const stemOf = (word) => {
    if (!stems.has(word)) stems.set(word, stemmer.stemWord(word));
    return stems.get(word);
  };
  const termsOf = (text) =>
    splitQuery(text.toLowerCase())
      .flatMap((word) => (word.includes("_") ? [word, ...word.split("_")] : [word]))
      .filter((word) => word && !stopwords.has(word))
      .map(stemOf);
  const counted = (counts, text, weight) => {
    for (const term of termsOf(text)) counts.set(term, (counts.get(term) || 0) + weight);
    return counts;
  };

  const read = (sections) =>
    sections.map(([page, anchor, title, heading, text]) => {
      const counts = counted(counted(counted(new Map(), text, 1), heading, 8), title, 3);
      const isReference = page.startsWith("api/") || heading.startsWith("asyncsdk ");
      const weight = IS_BACKGROUND.test(page) ? 0.5 : isReference ? 0.7 : 1;
      return { page, anchor, title, heading, text, counts, weight, size: text.length };
    });

  const scored = (sections, query) => {
    const mean = sections.reduce((sum, { size }) => sum + size, 1) / sections.length;
    const terms = [...new Set(termsOf(query))].map((term) => {
      const isKnown = sections.some(({ counts }) => counts.has(term));
      const countIn = ({ counts }) => {
        if (isKnown || term.length < 4) return counts.get(term) || 0;
        return [...counts].reduce((sum, [each, count]) => sum + (each.includes(term) ? count / 2 : 0), 0);
      };
      const found = sections.filter(countIn).length;
      return { countIn, rarity: Math.log(1 + sections.length / (1 + found)) };
    });
    const all = terms.reduce((sum, { rarity }) => sum + rarity, 0);
    const results = sections.map((section) => {
      let score = 0, covered = 0;
      for (const { countIn, rarity } of terms) {
        const count = countIn(section);
        if (count) covered += rarity;
        score += (rarity * count) / (count + 0.6 + 0.6 * (section.size / mean));
      }
      return { section, score: score * section.weight * (covered / all) ** 2 };
    });
    return results.filter(({ score }) => score > 0).sort((a, b) => b.score - a.score).slice(0, SHOWN);
  };

  // where most of the words are near to each other
  const excerpt = (text, query) => {
    const wanted = new Set(termsOf(query));
    const words = [...text.matchAll(/[\p{Letter}\p{Number}_]+/gu)];
    const places = words.filter(([word]) => termsOf(word).some((term) => wanted.has(term)));
    const near = (place) => {
      const around = places.filter(({ index }) => Math.abs(index - place.index) < AROUND);
      return new Set(around.map(([word]) => stemOf(word.toLowerCase()))).size;
    };
    const best = places.reduce((one, other) => (one && near(one) >= near(other) ? one : other), null);
    const start = Math.max(0, (best ? best.index : 0) - AROUND);
    const from = start && text.indexOf(" ", start) + 1;
    const end = from + 2 * AROUND + 40;
    return `${from ? "…" : ""}${text.slice(from, end).replace(/\S*$/, end < text.length ? "…" : "$&")}`;
  };

  const shown = ({ page, anchor, title, heading, text }, query) => {
    const item = document.createElement("li");
    const link = item.appendChild(document.createElement("a"));
    link.href = `${page}.html${anchor && `#${anchor}`}`;
    link.textContent = heading ? `${title} › ${heading}` : title;
    const context = item.appendChild(document.createElement("p"));
    context.className = "context";
    context.textContent = excerpt(text, query);
    return item;
  };

  Search.query = (query) => {
    const results = scored(read(Search._index), query);
    Search.output.append(...results.map(({ section }) => shown(section, query)));
    const words = splitQuery(query.toLowerCase()).filter((word) => !stopwords.has(word));
    localStorage.setItem("sphinx_highlight_terms", words.join(" ")); // highlighted on the page that is opened
    Search.stopPulse();
    Search.title.textContent = "Search results";
    Search.title.ariaLevel = 1;
    Search.status.textContent = results.length
      ? "The best first; each leads to its section."
      : "Nothing is found. Try fewer or other words, or see the questions and answers.";
  };
}
