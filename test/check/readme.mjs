// Compiles every ts block of README.md against the built package, and runs those that are fenced "ts run".
// A block that opens with "// name.ts" is kept under that name, so that another block can import it.
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { eachFew, ROOT, read, run } from './tools.mjs'

const FOLDER = join(ROOT, 'node_modules/.cache/deferq-readme')
const RUN_LIMIT_MS = 20_000

export async function checkReadme() {
  if (!existsSync(join(ROOT, 'README.md'))) return ['README.md is not there']
  const { blocks, wrong } = snippets(read('README.md'))
  if (blocks.length === 0) return wrong
  write(blocks)

  const built = await run('tsc', ['--project', '.', '--pretty', 'false'], { cwd: FOLDER })
  const errors = built.stdout.split('\n').filter(Boolean)
  for (const error of errors) wrong.push(inReadme(error, blocks))
  if (built.code !== 0 && errors.length === 0) wrong.push(`tsc ended with ${built.code}: ${built.stderr}`)

  await eachFew(
    blocks.filter((block) => block.run),
    async (block) => {
      const { code, stdout, stderr } = await run(process.execPath, [`out/${block.name}.js`], {
        cwd: FOLDER,
        limitMs: RUN_LIMIT_MS,
      })
      const where = `README.md:${block.line}:`
      if (code !== 0) wrong.push(`${where} the block ended with ${code} when run:\n${stderr.trim()}`)
      else if (block.output !== undefined && stdout.trim() !== block.output.trim())
        wrong.push(
          `${where} printed\n${stdout.trim()}\nbut the text block after it says\n${block.output.trim()}`,
        )
    },
  )
  return wrong
}

/** The ts blocks: where their code begins, what it is, whether it runs, and the text block directly after. */
function snippets(text) {
  const fences = []
  const wrong = []
  const lines = text.split('\n')
  for (let i = 0; i < lines.length; i++) {
    const open = /^(\s*)(`{3,}|~{3,})\s*(.*?)\s*$/.exec(lines[i])
    if (!open) continue
    const end = lines.findIndex((line, at) => at > i && line.trim() === open[2])
    if (end < 0) {
      wrong.push(`README.md:${i + 1}: this block is never closed`)
      break
    }
    const code = lines.slice(i + 1, end).map((line) => line.slice(open[1].length))
    fences.push({ info: open[3], line: i + 2, start: i, end, code: code.join('\n') })
    i = end
  }

  const blocks = []
  for (const [at, fence] of fences.entries()) {
    const [language, ...words] = fence.info.split(/\s+/)
    if (language !== 'ts' && language !== 'typescript') continue
    const strange = words.filter((word) => word !== 'run')
    if (strange.length > 0)
      wrong.push(`README.md:${fence.line - 1}: "${strange}" is no word for a ts block, only "run"`)
    const next = fences[at + 1]
    const follows =
      next?.info === 'text' && lines.slice(fence.end + 1, next.start).every((line) => !line.trim())
    const name = /^\/\/ ([\w-]+)\.ts\s*$/m.exec(fence.code.split('\n', 1)[0])?.[1] ?? `line-${fence.line}`
    if (blocks.some((block) => block.name === name))
      wrong.push(`README.md:${fence.line}: a second block called ${name}.ts`)
    else blocks.push({ ...fence, name, run: words.includes('run'), output: follows ? next.code : undefined })
  }
  return { blocks, wrong }
}

function write(blocks) {
  rmSync(FOLDER, { recursive: true, force: true })
  mkdirSync(join(FOLDER, 'node_modules'), { recursive: true })
  // Below node_modules the package does not find itself by name, so it is linked like any dependency.
  symlinkSync(ROOT, join(FOLDER, 'node_modules/deferq'), 'junction')
  writeFileSync(join(FOLDER, 'package.json'), '{ "type": "module", "private": true }')
  const compilerOptions = {
    rootDir: '.',
    outDir: 'out',
    declaration: false,
    noEmit: false,
    // A reader's example may show a name that it doesn't go on to use.
    noUnusedLocals: false,
    noUnusedParameters: false,
    // Each block is a module of its own, even one without an import.
    moduleDetection: 'force',
    typeRoots: [join(ROOT, 'node_modules/@types')],
  }
  const files = blocks.map((block) => `${block.name}.ts`)
  writeFileSync(
    join(FOLDER, 'tsconfig.json'),
    JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions, files, include: [] }),
  )
  for (const block of blocks) writeFileSync(join(FOLDER, `${block.name}.ts`), `${block.code}\n`)
}

// tsc speaks of its own copy; the reader wants the line in README.md.
function inReadme(error, blocks) {
  return error.replace(/^([\w-]+)\.ts\((\d+),(\d+)\)/, (all, name, line, column) => {
    const block = blocks.find((one) => one.name === name)
    return block ? `README.md:${block.line + Number(line) - 1}:${column}` : all
  })
}
