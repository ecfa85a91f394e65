// Refuses what reads a clock, starts a timer or draws randomness outside of src/base/environment.ts.
import { withoutText } from './imports.mjs'
import { read, sources } from './tools.mjs'

const DIRECT = new RegExp(
  [
    String.raw`\bDate\.now\b`,
    String.raw`\bnew Date\b(?!\s*\(\s*[^\s)])`,
    String.raw`(?<![\w.#]|\bnew\s+)Date\(`,
    String.raw`\bperformance\.(?:now|timeOrigin)\b`,
    String.raw`\bprocess\.hrtime\b`,
    String.raw`\bMath\.random\b`,
    String.raw`\bAbortSignal\.timeout\b`,
    String.raw`\bgetRandomValues\b`,
    // These names belong to Environment as well, so its own members pass.
    String.raw`(?<!\benvironment\s*\.\s*|[\w#])(?:(?:set|clear)(?:Timeout|Interval|Immediate)|random(?:Bytes|UUID|Int|Fill|FillSync))\b`,
  ].join('|'),
  'g',
)
const IMPORTED = /from '(?:node:)?(?:timers(?:\/promises)?|perf_hooks)'/g

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
