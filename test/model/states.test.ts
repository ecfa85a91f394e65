// The table of states in the documentation is the one that the model gives.
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { transitionTable } from './transitions.ts'

test('the documentation shows the states and the ways between them as the model goes them', async () => {
  const page = await readFile(new URL('../../docs/model.md', import.meta.url), 'utf8')
  const rows = (text: string): string[][] =>
    text
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .map((line) => line.split('|').map((cell) => cell.trim()))
      .filter(([, cell]) => cell !== undefined && !/^-+$/.test(cell))
  expect(rows(page)).toEqual(expect.arrayContaining(rows(await transitionTable())))
}, 60_000)
