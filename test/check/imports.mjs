// Reads the import lines of a source file.

/** Every import of a source: kind 'value', 'type' or 'lazy', what it names, and its line. */
export function importsOf(text) {
  const code = withoutComments(text)
  const found = []
  const add = (match, kind, from) =>
    found.push({ kind, from, line: code.slice(0, match.index).split('\n').length })
  for (const match of code.matchAll(
    /^[ \t]*(?:import|export)\s+(type\s+(?!from\b|,))?(?:[\w$*{][^'"`;=()]*?\bfrom\s*)?(['"])([^'"\n]+)\2/gm,
  )) {
    add(match, match[1] ? 'type' : 'value', match[3])
  }
  // In a type, import('x') stands after "typeof", or is followed by the name of the type.
  for (const match of code.matchAll(/(typeof\s+)?\bimport\s*\(\s*(['"`])([^'"`]+)\2\s*\)(\s*\.\s*[A-Z])?/g)) {
    add(match, match[1] || match[4] ? 'type' : 'lazy', match[3])
  }
  return found
}

// Blanks comments and keeps the lines. Strings and templates are passed over, for they may hold '//' or "import 'x'";
// a template's content is blanked, so that code within text counts as text.
function withoutComments(text) {
  return text.replace(
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`/g,
    (part) => (/^['"]/.test(part) || /^`[^\n$]*`$/.test(part) ? part : part.replace(/[^\n]/g, ' ')),
  )
}

/** The code without comments, and with every string blanked. */
export function withoutText(text) {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g, (part) =>
    part.replace(/[^\n]/g, ' '),
  )
}
