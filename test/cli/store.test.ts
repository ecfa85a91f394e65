// Looking into a store from the command line: deferq store inspect|scan|purge|migrate, as real processes over a file.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { raw } from '../sqlite/store.ts'
import { Installation } from './program.ts'

let installed: Installation
let file: string
let url: string

beforeAll(() => {
  installed = new Installation()
})
afterAll(() => installed.remove())
beforeEach(() => {
  file = join(installed.empty(), 'store.db')
  url = `sqlite:${file}`
})

const deferq = (...args: string[]) => installed.run('deferq', [...args, `--url=${url}`])
const json = async (...args: string[]) => JSON.parse((await deferq(...args, '--json')).stdout)

async function dispatched(): Promise<string> {
  const { taskId } = await json('dispatch', 'report', '{"year":2026}', '--delay=1h')
  return taskId as string
}

test('a run is shown by field names, with what lies beside it', async () => {
  const id = await dispatched()
  const { code, stdout } = await deferq('store', 'inspect', id)
  expect(code).toBe(0)
  expect(stdout).toMatch(/place +stands/)
  expect(stdout).toMatch(/status +pending/)
  expect(stdout).toMatch(/ticket +index runs_pending/)
  expect(stdout).toMatch(/dueAt +\d+ \(\d{4}-/)
  expect(stdout).toContain('It does not contradict itself.')
  expect(await json('store', 'inspect', id.slice(0, 64))).toMatchObject({
    id,
    place: 'stands',
    fields: { name: 'report', params: '{"year":2026}' },
    problems: [],
  })
})

test('a contradiction is found, repaired, and not found again', async () => {
  const id = await dispatched()
  const db = await raw(file)
  db.exec('UPDATE lanes SET pending = 5 WHERE id > 0')
  db.close()
  const found = await deferq('store', 'scan')
  expect(found.code).toBe(1)
  expect(found.stdout).toContain('counts 5 pending')
  expect(found.stdout).toContain('1 found')
  const repaired = await deferq('store', 'scan', '--repair')
  expect(repaired.code).toBe(0)
  expect(repaired.stdout).toContain('1 repaired, 0 left')
  expect((await deferq('store', 'scan')).stdout).toContain('no contradictions')
  expect((await json('store', 'inspect', id)).problems).toEqual([])
})

test('an ended run is purged, a live one stays', async () => {
  const id = await dispatched()
  const refused = await deferq('store', 'purge', id)
  expect(refused.code).toBe(1)
  expect(refused.stdout).toContain('cancel it first')
  await deferq('cancel', id)
  expect((await deferq('store', 'purge', id)).code).toBe(0)
  const gone = await deferq('store', 'inspect', id)
  expect(gone.code).toBe(1)
  expect(gone.stderr).toContain('holds no run with this id')
})

test('a migration is printed first, then done', async () => {
  const printed = await deferq('store', 'migrate', '--print')
  expect(printed.stdout).toMatch(/^CREATE TABLE runs/)
  expect(existsSync(file)).toBe(false)
  expect((await deferq('store', 'migrate')).stdout).toContain('statements were carried out')
  expect((await deferq('store', 'migrate')).stdout).toContain('has the layout of this version')
})

test('mistakes are told in words', async () => {
  const cases: [string[], string][] = [
    [['store', 'inspct', 'x'], 'Did you mean inspect?'],
    [['store', 'inspect'], 'needs the id of a run'],
    [['store', 'scan', 'x'], "does not know what to do with 'x'"],
    [['store', 'inspect', 'x', '--repair'], 'no use for --repair'],
    [['store', 'scan', '--bootstrap=worker.ts'], 'leave out --bootstrap'],
  ]
  for (const [args, message] of cases) {
    const { code, stderr } = await installed.run('deferq', args)
    expect(code, args.join(' ')).toBe(2)
    expect(stderr).toContain(message)
  }
  const remote = await installed.run('deferq', ['store', 'scan', '--url=https://localhost/deferq'])
  expect(remote.stderr).toContain('not of an HTTP interface')
})
