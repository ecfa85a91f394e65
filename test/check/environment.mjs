// Refuses what reads a clock, starts a timer or draws randomness outside of src/base/environment.ts.
import { withoutText } from './imports.mjs'
import { read, sources } from './tools.mjs'

const DIRECT =
  /(?<![\w.#])(?:Date\.now|new Date\(\)|performance\.now|process\.hrtime|(?:set|clear)(?:Timeout|Interval|Immediate)(?=\()|Math\.random|random(?:Bytes|UUID|Int|FillSync)(?=\()|crypto\.getRandomValues|AbortSignal\.timeout)/g
const IMPORTED =
  /from 'node:timers(?:\/promises)?'|import \{[^}]*\brandom(?:Bytes|UUID|Int)\b[^}]*\} from 'node:crypto'/g

// The page of the demo runs in a browser. The conformance suite measures real servers by the real clock.
const EXEMPT = ['src/base/environment.ts', 'src/demo/page-script.ts']

export function checkEnvironment() {
  return [...sources('src'), ...sources('bin')]
    .filter((file) => !EXEMPT.includes(file) && !file.startsWith('src/conformance/'))
    .flatMap((file) => {
      const code = withoutText(read(file))
      const found = [...code.matchAll(DIRECT), ...read(file).matchAll(IMPORTED)]
      return found.map((match) => {
        const line = code.slice(0, match.index).split('\n').length
        return `${file}:${line}: '${match[0]}' is for src/base/environment.ts alone. Use environment.`
      })
    })
}
