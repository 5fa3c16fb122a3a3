// Figures of Observable Plot as our page can hold them.

/**
 * Style elements are refused by our policy; what they say is in query.css. Names of inner groups are not allowed by
 * their roles, and the figure as a whole has a name.
 */
export function fitted<T extends Element>(figure: T): T {
  for (const style of [...figure.querySelectorAll("style")]) style.remove();
  for (const group of figure.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
  return figure;
}
