// A table that is wider than the page scrolls: let the keyboard reach it too. The theme wraps tables when it has loaded.
const reach = () => document.querySelectorAll(".md-typeset__scrollwrap").forEach((table) => (table.tabIndex = 0));
new MutationObserver(reach).observe(document.body, { childList: true, subtree: true });
reach();
