// Checks every file by itself: its opening comment, its length, and words that have no place in a published project.
import { spawnSync } from 'node:child_process'
import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, read, sources } from './tools.mjs'

const MOST_LINES = 300
/** The cases of the conformance suite are lists: a file holds one group. */
const MOST_LINES_OF_CASES = 400

// Paths of the machine that somebody wrote on, and where that machine got its packages from. Put together
// from parts, so that this file doesn't hold them itself.
const FOREIGN = [
  ...['work', 'farm', 'root'].map((folder) => new RegExp(`(?<![\\w.)\\]}*-])/${folder}/`)),
  new RegExp(['\\.\\.', 'shared/'].join('/')),
  new RegExp(['deb', 'debian', 'org'].join('\\.')),
]
const RESOLVED = /"resolved":\s*"\w+:\/\//

export function checkFiles() {
  return [
    ...[...sources('src'), ...sources('bin')].flatMap((file) => checkHead(file, read(file))),
    ...sources('src', /\.(ts|lua|sql)$/)
      .filter((file) => !file.endsWith('/generated.ts'))
      .flatMap((file) => checkLength(file, read(file))),
    ...projectFiles().flatMap((file) => checkWords(file, read(file))),
  ]
}

function checkHead(file, text) {
  const body = text.replace(/^#!.*\n/, '').trimStart()
  const comment = /^\/\*[\s\S]*?\*\//.exec(body)?.[0] ?? /^(?:\/\/.*(?:\n|$))+/.exec(body)?.[0] ?? ''
  const words = comment.replace(/^\s*(?:\/\*+|\*+\/?|\/\/)/gm, '').trim()
  if (/^[^\s]+\s+\S+\s+[\s\S]*?[.:!?](?:\s|$)/.test(words) && !words.startsWith('biome-')) return []
  return [`${file}: must open with a comment, one sentence that says what the file is responsible for`]
}

function checkLength(file, text) {
  const lines = text.trimEnd().split('\n').length
  const most = file.startsWith('src/conformance/') ? MOST_LINES_OF_CASES : MOST_LINES
  return lines > most ? [`${file}: ${lines} lines, ${most} at most; split it by responsibility.`] : []
}

function checkWords(file, text) {
  const rules = file.endsWith('package-lock.json') ? [...FOREIGN, RESOLVED] : FOREIGN
  return text.split('\n').flatMap((line, i) => {
    const found = rules.map((rule) => rule.exec(line)?.[0]).find((word) => word !== undefined)
    return found
      ? [`${file}:${i + 1}: must not mention ${found} (it belongs to one machine, not the project)`]
      : []
  })
}

// What a commit would hold: tracked files and new ones that aren't ignored.
function projectFiles() {
  const git = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  // Outside of a clone (an unpacked archive) git knows nothing, and the folders are read instead.
  const listed =
    git.status === 0
      ? git.stdout.split('\0').filter(Boolean)
      : ['src', 'bin', 'test'].flatMap((f) => sources(f, /./))
  return listed.filter((file) => {
    const stat = lstatSync(join(ROOT, file), { throwIfNoEntry: false })
    return stat?.isFile() && stat.size < 2_000_000 && !/\.(png|jpe?g|gif|ico|woff2?|gz|tgz|db)$/.test(file)
  })
}
