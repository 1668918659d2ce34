// Sphinx's scores, but pages that tell how come before those that tell why and since when.
var Scorer = {
  score: ([page, title, anchor, description, score]) =>
    /^(decisions|benchmarks)\/|^(changelog|architecture|contributing)$/.test(page) ? score - 20 : score,
  objNameMatch: 11, objPartialMatch: 6, objPrio: {0: 15, 1: 5, 2: -5}, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
