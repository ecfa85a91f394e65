// What several checks need: the project's folder, its files, and a way to run a program in it.
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const LIMIT_MS = 120_000

export function read(path) {
  return readFileSync(join(ROOT, path), 'utf8')
}

export function manifest() {
  return JSON.parse(read('package.json'))
}

/** The sources of a folder, as paths from the root with '/'; none when the folder isn't there. */
export function sources(folder, pattern = /\.ts$/) {
  if (!existsSync(join(ROOT, folder))) return []
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length).replaceAll('\\', '/'))
    .sort()
}

/** Runs a program (those of node_modules included) and answers how it ended and what it printed. */
export function run(program, args, { cwd = ROOT, env = {}, limitMs = LIMIT_MS } = {}) {
  const PATH = [join(ROOT, 'node_modules/.bin'), process.env.PATH].join(delimiter)
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, PATH, NO_COLOR: '1', FORCE_COLOR: undefined, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: limitMs,
      killSignal: 'SIGKILL',
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text
    })
    child.on('error', (error) => resolve({ code: -1, stdout, stderr: `${stderr}${error.message}` }))
    child.on('close', (code, signal) => {
      if (signal) stderr += `\n${program} was ended by ${signal} (limit ${limitMs / 1000} s)`
      resolve({ code: code ?? -1, stdout, stderr })
    })
  })
}

/** A check that is one program: what it printed is what is wrong, unless it exits with 0. */
export async function command(program, args) {
  const { code, stdout, stderr } = await run(program, args)
  if (code === 0) return []
  // npm warns about a user's own settings on stderr, which is nobody's failure.
  const text = `${stdout}\n${stderr.replace(/^npm (warn|notice).*\n?/gm, '')}`.trim()
  return [`${program} ${args.join(' ')} ended with ${code}:\n${text}`]
}

/** Runs `work` over all of them, a few at a time. */
export async function eachFew(items, work, few = 2) {
  const left = [...items]
  await Promise.all(
    Array.from({ length: few }, async () => {
      for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item)
    }),
  )
}
