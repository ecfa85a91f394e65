// Runs everything that can be checked without running the library, and says per step what is wrong.
// `node test/check/check.mjs layers readme` runs the named steps alone.
import { writeFileSync } from 'node:fs'
import { outdated } from '../../build/generate.mjs'
import { checkEnvironment } from './environment.mjs'
import { printFigures } from './figures.mjs'
import { checkFiles } from './files.mjs'
import { checkLayers } from './layers.mjs'
import { checkPackage } from './package.mjs'
import { checkReadme } from './readme.mjs'
import { command } from './tools.mjs'

// Each answers the list of what is wrong. The stages run one after another, because what lies in the
// second reads what the build of the first has written; the steps of a stage run at the same time.
const stages = [
  {
    build: () => command('npm', ['run', '--silent', 'build']),
    types: () => command('tsc', ['--project', 'test/tsconfig.json', '--pretty', 'false']),
    style: checkStyle,
    layers: checkLayers,
    environment: checkEnvironment,
    files: checkFiles,
    generated: () => outdated().map(({ path }) => `${path} is out of date: run npm run generate`),
  },
  {
    package: checkPackage,
    publint: () => command('publint', ['run', '--strict', '--pack', 'false']),
    readme: checkReadme,
  },
]

if (process.argv.includes('--figures')) {
  printFigures()
  process.exit()
}

const wanted = process.argv.slice(2)
const known = stages.flatMap((stage) => Object.keys(stage))
const unknown = wanted.filter((name) => !known.includes(name))
if (unknown.length > 0) {
  console.error(`No check is called ${unknown.join(', ')}; there are: ${known.join(', ')}.`)
  process.exit(2)
}

let passed = 0
const failed = []
for (const stage of stages) {
  const steps = Object.entries(stage).filter(([name]) => wanted.length === 0 || wanted.includes(name))
  const running = steps.map(([name, step]) => timed(name, step))
  // In the order of the list, not of the finish: two runs can be compared line by line.
  for (const one of running) report(await one)
}

async function checkStyle() {
  const wrong = await command('biome', [
    'check',
    '--error-on-warnings',
    '--reporter=concise',
    '--max-diagnostics=100',
  ])
  return wrong.length === 0 ? [] : [...wrong, 'Most of it mends itself: npm run fix']
}

async function timed(name, step) {
  const start = performance.now()
  const warnings = []
  let wrong
  try {
    wrong = await step((text) => warnings.push(text))
  } catch (error) {
    wrong = [`the check itself broke: ${error.stack ?? error}`]
  }
  return { name, wrong, warnings, seconds: (performance.now() - start) / 1000 }
}

function report({ name, wrong, warnings, seconds }) {
  const ok = wrong.length === 0
  if (ok) passed++
  else failed.push(name)
  const count = ok ? '' : `  ${wrong.length === 1 ? 'failed' : `${wrong.length} failures`}`
  console.log(`${ok ? '✓' : '✗'} ${name.padEnd(8)} ${seconds.toFixed(1).padStart(4)} s${count}`)
  for (const text of wrong) console.log(indent(text))
  for (const text of warnings) console.log(indent(`warning: ${text}`))
}

function indent(text) {
  return `${text}`.trimEnd().replace(/^(?=.)/gm, '    ')
}

console.log(
  `checks: ${passed} passed, ${failed.length} failed${failed.length ? ` (${failed.join(', ')})` : ''}`,
)
if (process.env.DEFERQ_CHECK_REPORT) {
  writeFileSync(process.env.DEFERQ_CHECK_REPORT, JSON.stringify({ passed, failed: failed.length }))
}
process.exitCode = failed.length > 0 ? 1 : 0
