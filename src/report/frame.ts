/** What every page of ours has around its parts: one file that needs no network and runs no script, with a way past the navigation. */
import { html, type Part, render } from "./markup.ts";
import { style } from "./style.ts";

/** A part of a page that the navigation leads to. */
export interface Section {
  readonly id: string;
  /** In the navigation. */
  readonly name: string;
  readonly title: string;
  readonly body: Part;
}

export interface Frame {
  /** Of the window. */
  readonly title: string;
  /** At the head of the navigation: "fakeai bench". */
  readonly product: string;
  /** What stands first: its anchor, its name in the navigation, and what a reader who skips that is told. */
  readonly first: { readonly id: string; readonly name: string; readonly skip: string };
  /** In the header, from its heading on. */
  readonly header: Part;
  readonly sections: readonly Section[];
  /** Beside the style that all pages have. */
  readonly styles?: string;
  /** Drawings that others refer to. */
  readonly drawings?: string;
}

/** End tags that HTML lets out (WHATWG HTML, 13.1.2.4), and which are a tenth of a page. */
const optionalEnds = /<\/(?:dd|dt|li|tbody|td|th|thead|tr)>/gu;

/** The page as text. Its parts are escaped where they are made. */
export function renderPage({ title, product, first, header, sections, styles = "", drawings }: Frame): string {
  const body = html`<a class="skip" href="#${first.id}">${first.skip}</a>
    <nav aria-label="Parts of this page">
      <b>${product}</b><a href="#${first.id}">${first.name}</a>${sections.map(({ id, name }) => html`<a href="#${id}">${name}</a>`)}
    </nav>
    <main>
      <header id="${first.id}" tabindex="-1">${header}</header>
      ${sections.map(
        ({ id, title: heading, body: part }) =>
          html`<section id="${id}" aria-labelledby="${id}-title">
            <h2 id="${id}-title">${heading}</h2>
            ${part}
          </section>`,
      )}
    </main>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${render(title)}</title>
<style>${style}
${styles}</style>
</head>
<body>
${drawings ?? ""}
${body.text.replaceAll(optionalEnds, "")}
</body>
</html>
`;
}
