// What the command line prints with: durations, secrets, colours, near words, and values that JSON has no word for.
import { describe, expect, test } from 'vitest'
import { maskUrl } from '../../src/base/errors.ts'
import { clean, paintFor, plain, readable, table } from '../../src/cli/format.ts'
import { nearest } from '../../src/cli/nearest.ts'
import { StatusLine } from '../../src/cli/status-line.ts'

describe('durations', () => {
  test.each([
    [0, '0ms'],
    [999.4, '999ms'],
    [999.6, '1s'],
    [1_234, '1.2s'],
    [59_400, '59s'],
    [59_900, '1m'],
    [200_000, '3m 20s'],
    [3_600_000, '1h'],
    [187_200_000, '2d 4h'],
    [-1_500, '-1.5s'],
  ])('%d ms is %s', (ms, text) => expect(readable(ms)).toBe(text))
})

describe('secrets', () => {
  test.each([
    ['redis://u:secret@h:1/0', 'redis://u:***@h:1/0'],
    ['at redis://:se/cr@et@h failed', 'at redis://:***@h failed'],
    ["'redis://u:secret@h' and rediss://v:other@i", "'redis://u:***@h' and rediss://v:***@i"],
    ['redis://h:6379/0', 'redis://h:6379/0'],
    ['http://h/?token=abc&x=1', 'http://h/?token=***&x=1'],
  ])('%s', (text, masked) => expect(maskUrl(text)).toBe(masked))
})

test('colours are for terminals alone, and not where NO_COLOR is set', () => {
  expect(paintFor({ isTTY: true }, {})('red', 'x')).toContain('\u001b[')
  expect(paintFor({ isTTY: true }, { NO_COLOR: '1' })('red', 'x')).toBe('x')
  expect(paintFor({ isTTY: true }, { TERM: 'dumb' })('red', 'x')).toBe('x')
  expect(paintFor({}, {})('red', 'x')).toBe('x')
})

test('a table is as wide as what can be seen of it', () => {
  const paint = paintFor({ isTTY: true }, {})
  const lines = table(
    ['A', 'B'],
    [
      [paint('red', 'long'), 'x'],
      ['s', 'y'],
    ],
    (_, text) => text,
  ).split('\n')
  expect(lines).toEqual(['A     B', `${paint('red', 'long')}  x`, 's     y'])
})

test('control characters of a task do not reach the terminal', () => {
  expect(clean('a\u001b[31m b\u0007c\ne')).toBe('a b�c\ne')
})

test('values without a JSON form get a readable one', () => {
  const error = new Error('redis://u:secret@h is away', { cause: new TypeError('x') })
  expect(
    plain({ b: 1n, d: new Date(0), s: new Set([1]), m: new Map([[1, 2n]]), u: undefined, e: error }),
  ).toEqual({
    b: '1',
    d: '1970-01-01T00:00:00.000Z',
    s: [1],
    m: [[1, '2']],
    e: { name: 'Error', message: 'redis://u:***@h is away', cause: { name: 'TypeError', message: 'x' } },
  })
  expect(plain(new Uint8Array([1, 2]))).toBe('AQI=')
})

describe('the nearest word', () => {
  const known = ['bootstrap', 'max-jobs', 'max-memory', 'stop-when-empty', 'sleep', 'json']
  test.each([
    ['bootsrap', 'bootstrap'],
    ['maxJobs', 'max-jobs'],
    ['MAX_MEMORY', 'max-memory'],
    ['memory', 'max-memory'],
    ['selep', 'sleep'],
    ['stop', 'stop-when-empty'],
    ['colour', undefined],
    ['x', undefined],
  ])('%s: %s', (word, meant) => expect(nearest(word, known)).toBe(meant))
})

test('the status line is drawn on a terminal only, and cut to its width', () => {
  const drawn: string[] = []
  const stream = { isTTY: true, columns: 10, write: (text: string) => drawn.push(text) } as never
  new StatusLine(stream, {}).draw('0123456789abc')
  expect(drawn).toEqual(['\r\u001b[2K01234567…'])
  expect(new StatusLine({ isTTY: false } as never, {}).shown).toBe(false)
})
