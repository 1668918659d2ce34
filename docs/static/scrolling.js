// What is wider than its place can be scrolled by keys, too: so much, and no more, is a stop of the Tab key.
const mark = () =>
  document.querySelectorAll("article pre, .table-wrapper").forEach((one) => {
    if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
    else one.removeAttribute("tabindex");
  });
mark();
addEventListener("resize", mark);
