// Patterns: what they match, compared with regular expressions; what is refused; and that none can run away.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MAX_TEXT, Pattern } from '../../src/rules/pattern.ts'

test.each([
  ['abc', ['abc', 'xabcx'], ['ab', 'acb', '']],
  ['^abc$', ['abc'], ['xabc', 'abcx', 'abc\n']],
  ['^a', ['a', 'abc'], ['ba', '']],
  ['a$', ['a', 'bba'], ['ab']],
  ['', ['', 'anything'], []],
  ['^$', [''], ['x']],
  ['colou?r', ['color', 'colour'], ['colouur']],
  ['^(cat|dog)s?$', ['cat', 'dogs'], ['cats dogs', 'cog']],
  ['^(?:a|b)+$', ['abba'], ['', 'abc']],
  ['^[a-f0-9]{4}$', ['09af'], ['09ag', '09a', '09af0']],
  ['^[^,]+,[^,]+$', ['a,b'], ['a,b,c', 'a', ',']],
  ['^\\d{2,3}$', ['12', '123'], ['1', '1234', 'ab']],
  ['^\\w+@\\w+\\.(com|de)$', ['a_1@b.de'], ['a@b.org', 'a@bXde']],
  ['^\\S+\\s\\D$', ['ab c'], ['ab 1', 'a b c ']],
  ['\\$\\^\\.\\\\', ['x$^.\\y'], ['$^x\\']],
  ['^a\\$$', ['a$'], ['a']],
  ['^a\\\\$', ['a\\'], ['a', 'a$']],
  ['^[]a]$', [']', 'a'], ['b']],
  ['^[a\\-z]$', ['a', '-', 'z'], ['m']],
  ['^[a-]$', ['a', '-'], ['b']],
  ['^[\\d.]+$', ['1.2'], ['1,2']],
  ['^.$', ['x', '😀', 'é'], ['', 'xy', '\n']],
  ['^[😀-😂]$', ['😁'], ['😃', 'x']],
  ['^(\\w+\\.)*\\w+$', ['deferq', 'a.b.c1'], ['a..b', '.a']],
  ['^(\\W|\\w)+$', ['a b'], ['']],
  ['^(|a){3}b{0}$', ['', 'aaa'], ['aaaa', 'b']],
  ['^a+?b*?$', ['aab', 'a'], ['b']],
])('%s', (source, yes, no) => {
  const pattern = new Pattern(source)
  for (const text of yes) expect(pattern.matches(text), JSON.stringify(text)).toBe(true)
  for (const text of no) expect(pattern.matches(text), JSON.stringify(text)).toBe(false)
})

test.each([
  ['(', /'\(' is not closed/],
  [')', /closes nothing/],
  ['[a', /'\[' is not closed/],
  ['*a', /repeats nothing/],
  ['a**', /a repetition is repeated/],
  ['a{2', /no number of repetitions/],
  ['a{3,2}', /ends before it begins/],
  ['a{,2}', /no number of repetitions/],
  ['(?=a)', /can neither look around/],
  ['(?<n>a)', /can neither look around/],
  ['(a)\\1', /\\1 is not part of it/],
  ['\\bword', /\\b is not part of it/],
  ['a\\', /ends with a \\/],
  ['a^b', /anchor/],
  ['a$b', /anchor/],
  ['^a|b$', /not clear what \^ or \$ belongs to/],
  ['[z-a]', /leads to nothing/],
  ['[\\d-z]x[a-\\d]', /leads to nothing/],
  ['a{999}', /more than 500 steps/],
  ['((a{20}){20}){20}', /more than 500 steps/],
  ['(((((){999}){999}){999}){999}){999}', /repeats repetitions too often/],
  [`${'('.repeat(30)}a${')'.repeat(30)}`, /nest deeper/],
  ['a'.repeat(201), /longer than 200/],
  ['(a+)+$', /could run away: what is repeated at 1 can match one text in ever more ways/],
  ['^x(a|a)*$', /could run away: what is repeated at 3 /],
  ['^(a|aa)+$', /could run away/],
  ['^(([a-z])+.)+[A-Z]([a-z])+$', /could run away/],
  ['^(\\s*\\w+\\s*)*$', /could run away/],
  ['^("[^"]*"|[^",]+)*$', /could run away/],
  ['(x{2,3})*', /could run away/],
  ['(\\d|[5-7])*', /could run away/],
  ['(.|\\s)*', /could run away/],
  ['(a*)*b', /what is repeated at 1 may be empty/],
  ['(a?b?)*', /what is repeated at 1 may be empty/],
  ['^(b(a?){150})*$', /too much in a repetition/],
])('refused: %s', (source, why) => {
  const begun = performance.now()
  expect(() => new Pattern(source)).toThrow(why)
  expect(performance.now() - begun).toBeLessThan(250)
})

test('what it matches is what a regular expression matches', () => {
  const atom = fc.constantFrom('a', 'b', 'c', '.', '[ab]', '[^a]', '\\d', '\\w', '1', '\\.')
  const piece = fc
    .tuple(atom, fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,2}', '{1,}'))
    .map((two) => two.join(''))
  const group = fc
    .tuple(
      fc.array(piece, { minLength: 1, maxLength: 3 }),
      fc.array(piece, { maxLength: 2 }),
      fc.constantFrom('', '*', '?'),
    )
    .map(([one, two, times]) => `(${one.join('')}|${two.join('')})${times}`)
  const source = fc
    .tuple(
      fc.constantFrom('', '^'),
      fc.array(fc.oneof(piece, group), { maxLength: 4 }),
      fc.constantFrom('', '$'),
    )
    .map(([start, parts, end]) => start + parts.join('') + end)
  const text = fc
    .array(fc.constantFrom('a', 'b', 'c', '1', '.', '\n', '😀'), { maxLength: 8 })
    .map((all) => all.join(''))
  fc.assert(
    fc.property(source, fc.array(text, { minLength: 1, maxLength: 20 }), (pattern, texts) => {
      const mine = unlessRunaway(pattern)
      fc.pre(mine !== undefined)
      const theirs = new RegExp(pattern, 'u')
      for (const each of texts)
        expect([pattern, each, mine.matches(each)]).toEqual([pattern, each, theirs.test(each)])
    }),
    { numRuns: 2_000 },
  )
})

function unlessRunaway(source: string): Pattern | undefined {
  try {
    return new Pattern(source)
  } catch (error) {
    expect((error as Error).message).toMatch(/run away|may be empty|500 steps|too often|nest deeper/)
    return undefined
  }
}

test('what is not refused does not run away where possibilities are tried one after the other', () => {
  const atom = fc.constantFrom('a', 'b', '[ab]', '.', '\\w', '[^b]')
  const times = fc.constantFrom('', '*', '+', '?', '{2,3}', '{1,}')
  const { pattern } = fc.letrec<{ part: string; sequence: string; pattern: string }>((tie) => ({
    part: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.tuple(atom, times).map((two) => two.join('')),
      fc.tuple(tie('sequence'), fc.constantFrom('*', '+', '{2,}')).map(([of, times]) => `(${of})${times}`),
      fc.tuple(tie('sequence'), tie('sequence')).map((two) => `(${two.join('|')})`),
    ),
    sequence: fc.array(tie('part'), { minLength: 1, maxLength: 2 }).map((parts) => parts.join('')),
    pattern: tie('sequence').map((of) => `^${of}$`),
  }))
  const pump = fc.stringMatching(/^[ab]{1,3}$/)
  let accepted = 0
  fc.assert(
    fc.property(pattern, pump, (source, pumped) => {
      if (source.length > 60 || unlessRunaway(source) === undefined) return
      if (/[*+,]/.test(source)) accepted++
      const begun = performance.now()
      new RegExp(source, 'u').test(`${pumped.repeat(28 / pumped.length)}\n`)
      expect(performance.now() - begun, `${source} on ${pumped}`).toBeLessThan(1_000)
    }),
    { numRuns: 3_000 },
  )
  expect(accepted).toBeGreaterThan(500)
})

describe('none runs away on the longest text', () => {
  test.each([
    'a*a*a*a*a*a*a*a*a*a*b',
    '(.*)(.*)(.*)(.*)(.*)x',
    '^(a?){150}a{150}$',
    `([${'ab'.repeat(70)}]{3}){99}x`,
    '(a{0,20}){0,11}b',
  ])('%s', (source) => {
    const pattern = new Pattern(source)
    const times = ['a'.repeat(MAX_TEXT - 1), 'ab'.repeat(MAX_TEXT / 2 - 1)].map((text) => {
      const begun = performance.now()
      pattern.matches(`${text}!`)
      return performance.now() - begun
    })
    // A regular expression would take longer than the universe has for some of these.
    expect(Math.max(...times)).toBeLessThan(1_000)
  })
})
