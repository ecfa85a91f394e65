// Makes the README's table and its chart from the JSON of one or more runs: node bench/publish.mjs run.json …
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

const README = new URL('../README.md', import.meta.url)
const CHART = new URL('figures.svg', import.meta.url)
const [BEGIN, END] = ['<!-- figures -->', '<!-- /figures -->']

const { positionals } = parseArgs({ allowPositionals: true })
if (positionals.length === 0) {
  console.error('Give the files that npm run bench -- --json=FILE has written.')
  process.exit(2)
}
const runs = positionals.map((file) => JSON.parse(readFileSync(file, 'utf8')))
const lines = runs.flatMap(({ results }) => results.flatMap(compared))
writeFileSync(CHART, chart(lines, runs[0]))
const readme = readFileSync(README, 'utf8')
const [from, to] = [readme.indexOf(BEGIN), readme.indexOf(END)]
if (from < 0 || to < from)
  throw new Error(`The README lacks ${BEGIN} and ${END}, between which the table goes.`)
writeFileSync(README, `${readme.slice(0, from + BEGIN.length)}\n${table(lines, runs)}\n${readme.slice(to)}`)

/** One line for each comparison; `factor` above 1 is in deferq's favour. */
function compared({ title, unit, contenders }) {
  const own = contenders.find(({ contender }) => contender === 'deferq')
  const smallerIsBetter = unit === 'ms' || unit === 'B'
  return contenders
    .filter(({ ratio, contender }) => ratio !== undefined && !contender.startsWith('deferq'))
    .map(({ contender, median, ratio }) => ({
      title,
      contender,
      own: `${spell(own.median)} ${unit}`,
      other: `${spell(median)} ${unit}`,
      ratio,
      factor: smallerIsBetter ? 1 / ratio : ratio,
    }))
}

function table(all, [{ date, machine, node }, ...others]) {
  const versions = Object.assign({}, ...runs.map(({ packages }) => packages))
  const servers = [...new Set([runs[0], ...others].map(({ server }) => server).filter(Boolean))]
  const rows = all.map(
    ({ title, contender, own, other, ratio }) =>
      `| ${title} | ${own} | ${contender} | ${other} | ${ratio.toFixed(2)}× |`,
  )
  const peers = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return [
    '',
    '![deferq beside its peers](bench/figures.svg)',
    '',
    '| case | deferq | beside | | ratio |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    `${date.slice(0, 10)}, ${machine}, Node ${node}, ${servers.join(', ')}; ${peers.join(', ')}.`,
    '',
  ].join('\n')
}

/** Bars on a logarithmic scale: to the right of the line deferq is ahead. */
function chart(all, { date }) {
  const [left, width, row, top] = [430, 360, 20, 46]
  const reach = Math.max(2, ...all.map(({ factor }) => Math.max(factor, 1 / factor)))
  const middle = left + width / 2
  const x = (factor) => middle + ((Math.log(factor) / Math.log(reach)) * width) / 2
  const height = top + all.length * row + 20
  const bars = all.map(({ title, contender, factor, ratio }, index) => {
    const y = top + index * row
    const [from, to] = [Math.min(middle, x(factor)), Math.max(middle, x(factor))]
    const floor = contender.startsWith('floor')
    const colour = floor ? '#9aa5b1' : factor >= 1 ? '#2f855a' : '#c05621'
    return [
      `<text x="${left - 8}" y="${y + 13}" text-anchor="end">${escaped(`${title.split(':')[0]} · ${contender}`)}</text>`,
      `<rect x="${from.toFixed(1)}" y="${y + 3}" width="${Math.max(1, to - from).toFixed(1)}" height="${row - 7}" fill="${colour}"/>`,
      `<text x="${(factor >= 1 ? to + 5 : from - 5).toFixed(1)}" y="${y + 13}" text-anchor="${factor >= 1 ? 'start' : 'end'}">${ratio.toFixed(2)}×</text>`,
    ].join('')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 70} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#4a5568">
<title>deferq beside its peers: ratios by case</title>
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="12" y="22" font-size="15" font-weight="600">deferq beside its peers, ${date.slice(0, 10)}</text>
<text x="${middle}" y="38" text-anchor="middle" font-size="11">behind ← as fast → ahead (logarithmic; grey: bare clients)</text>
${bars.join('\n')}
<line x1="${middle}" y1="${top}" x2="${middle}" y2="${height - 16}" stroke="#4a5568"/>
</svg>
`
}

function spell(value) {
  return value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 3 : 0 })
}

function escaped(text) {
  return text.replace(/[<>&]/g, (character) => `&#${character.charCodeAt(0)};`)
}
