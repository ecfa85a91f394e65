// Forbidden addresses in every spelling: refused by the guard, where a URL is read and where a connection is made.
import type { LookupAddress } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { BlockList, isIP } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressOf, contains, rangeOf, refusalOf } from '../../src/requests/addresses.ts'
import { Guard } from '../../src/requests/guard.ts'

const FORBIDDEN = {
  loopback: ['127.0.0.1', '127.0.0.2', '127.255.255.254', '::1'],
  private: [
    '10.0.0.1',
    '10.255.255.255',
    '172.16.0.1',
    '172.31.255.254',
    '192.168.0.1',
    'fc00::1',
    'fdff::1',
  ],
  metadata: [
    '169.254.169.254',
    '169.254.170.2',
    '100.100.100.200',
    '168.63.129.16',
    '192.0.0.192',
    'fd00:ec2::254',
  ],
  'link-local': ['169.254.0.1', 'fe80::1', 'febf::1', 'fec0::1'],
  cgnat: ['100.64.0.1', '100.127.255.254'],
  multicast: ['224.0.0.1', '239.255.255.250', 'ff02::1', 'ff0e::1'],
  unspecified: ['0.0.0.0', '0.1.2.3', '::'],
  reserved: [
    '240.0.0.1',
    '255.255.255.255',
    '192.0.0.1',
    '192.0.2.1',
    '198.18.0.1',
    '198.51.100.7',
    '203.0.113.9',
  ],
  'of IPv6': ['100::1', '2001:db8::1', '2001::1', '2001:2::1', '2001:10::1', '3fff::1', '4000::1', '5f00::1'],
  mapped: [
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:10.0.0.1',
    '::ffff:169.254.169.254',
    '0:0:0:0:0:ffff:a9fe:a9fe',
  ],
  compatible: ['::127.0.0.1', '::10.0.0.1', '::7f00:1', '::8.8.8.8'],
  translated: ['::ffff:0:127.0.0.1', '::ffff:0:10.0.0.1'],
  nat64: [
    '64:ff9b::127.0.0.1',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b::10.0.0.1',
    '64:ff9b:1::10.0.0.1',
    '64:ff9b:1::8.8.8.8',
  ],
  '6to4': ['2002:7f00:1::', '2002:a00:1::1', '2002:a9fe:a9fe::1', '2002:808:808::1'],
  teredo: ['2001:0:4136:e378:8000:63bf:3fff:fdd2'],
}
const PUBLIC = ['1.1.1.1', '8.8.8.8', '93.184.216.34', '100.63.255.255', '100.128.0.1', '172.15.255.255', '172.32.0.1',
  '192.169.0.1', '223.255.255.255', '11.0.0.1', '126.255.255.255', '128.0.0.1', '169.253.255.255', '169.255.0.0',
  '2606:4700:4700::1111', '2001:4860:4860::8888', '2a00:1450::1', '::ffff:8.8.8.8', '64:ff9b::8.8.8.8'] // biome-ignore format: one block
const forbidden = Object.values(FORBIDDEN).flat()

/** Everything that a URL can say for an IPv4 address. */
function spellings(address: string): string[] {
  const parts = address.split('.').map(Number) as [number, number, number, number]
  const [a, b, c, d] = parts
  const whole = ((a * 256 + b) * 256 + c) * 256 + d
  const oct = (part: number): string => `0${part.toString(8)}`
  const hex = (part: number): string => `0x${part.toString(16)}`
  return [
    address,
    `${address}.`,
    String(whole),
    `${whole}.`,
    hex(whole),
    hex(whole).toUpperCase().replace('0X', '0X'),
    oct(whole),
    parts.map(oct).join('.'),
    parts.map(hex).join('.'),
    parts.map((part) => `0x0000${part.toString(16)}`).join('.'),
    parts.map((part) => `000${part.toString(8)}`).join('.'),
    `${a}.${(b * 256 + c) * 256 + d}`,
    `${a}.${b}.${c * 256 + d}`,
    `${hex(a)}.${oct(b)}.${c}.${d}`,
    `${hex(a)}.${(b * 256 + c) * 256 + d}`,
    address.replaceAll('.', '。'),
    address.replaceAll('.', '．'),
    [...address]
      .map((char) => (/\d/.test(char) ? String.fromCodePoint(0xff10 + Number(char)) : char))
      .join(''),
    [...address].map((char) => encodeURIComponent(char).replace(/^\d$/, (n) => `%3${n}`)).join(''),
    `[::ffff:${address}]`,
    `[::ffff:${hexGroups(parts)}]`,
    `[0:0:0:0:0:ffff:${address}]`,
    `[0000:0000:0000:0000:0000:FFFF:${address}]`,
    `[::${address}]`,
    `[64:ff9b::${address}]`,
    `[2002:${hexGroups(parts)}::1]`,
    `[::ffff:0:${address}]`,
  ]
}

function hexGroups([a, b, c, d]: readonly number[]): string {
  return `${((a as number) * 256 + (b as number)).toString(16)}:${((c as number) * 256 + (d as number)).toString(16)}`
}

/** A resolver that answers these, one list after another, and the last for ever. */
function resolver(...answers: string[][]): LookupFunction & { asked: number } {
  const found = (address: string): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 })
  const lookup = (_host: string, _options: unknown, done: (...given: unknown[]) => void): void => {
    const answer = answers[Math.min(lookup.asked++, answers.length - 1)] as string[]
    queueMicrotask(() => done(null, answer.map(found)))
  }
  lookup.asked = 0
  return lookup as unknown as LookupFunction & { asked: number }
}

const resolved = (guard: Guard, host: string, all = true): Promise<unknown> =>
  new Promise((resolve, reject) => {
    guard.lookup(host, { all }, (error, address) => (error === null ? resolve(address) : reject(error)))
  })

describe('addresses', () => {
  for (const [kind, addresses] of Object.entries(FORBIDDEN)) {
    test(`${kind}: refused`, () => {
      for (const address of addresses) expect(refusalOf(address), address).toBeDefined()
    })
  }
  test('public ones pass', () => {
    for (const address of PUBLIC) expect(refusalOf(address), address).toBeUndefined()
  })
  test('with a zone, or no address at all', () => {
    expect(refusalOf('fe80::1%eth0')).toContain('link-local')
    for (const text of ['', 'localhost', '1.2.3', '1.2.3.4.5', '300.1.1.1', '::g', '1::2::3'])
      expect(refusalOf(text), text).toBe('no IP address')
  })
})

describe('reading', () => {
  const agrees = (text: string): void => {
    const address = addressOf(text)
    expect(address?.size, text).toBe(isIP(text) === 0 ? undefined : isIP(text) === 4 ? 32 : 128)
  }

  test('what node takes for an address is one here, and nothing else', () => {
    const near = fc.stringMatching(/^[0-9a-f:.]{0,24}$/)
    fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.ipV4Extended(), near), agrees), {
      numRuns: 20_000,
    })
    for (const text of [
      '::',
      '::1',
      '1::',
      ':::',
      '1:2:3:4:5:6:7:8',
      '1:2:3:4:5:6:7::',
      '::2:3:4:5:6:7:8',
      '1:2:3:4:5:6:7:8:9',
      '1:2:3:4:5:6:1.2.3.4',
      '::1.2.3.4',
      '1.2.3.4::',
      '::1.2.3',
      '::1.2.3.4.5',
      '::01.2.3.4',
      '01.2.3.4',
      '1.2.3.256',
      ' 1.2.3.4',
      '::00001',
      '::g',
      '1::2::3',
      'fe80::1%eth0',
      '',
    ])
      agrees(text)
  })

  test('ranges hold what node’s own block list says', () => {
    const range = fc.oneof(fc.tuple(fc.ipV4(), fc.nat(32)), fc.tuple(fc.ipV6(), fc.nat(128)))
    fc.assert(
      fc.property(range, fc.oneof(fc.ipV4(), fc.ipV6()), fc.boolean(), ([base, prefix], other, near) => {
        const family = isIP(base) === 4 ? 'ipv4' : 'ipv6'
        const list = new BlockList()
        list.addSubnet(base, prefix, family)
        const address = near ? base : other
        const expected = isIP(address) === isIP(base) && list.check(address, family)
        const mapped = /^(0*:)*:?0*ffff:/i.test(address) || (address.includes('.') && address.includes(':'))
        if (mapped) return
        expect(contains(rangeOf(`${base}/${prefix}`) as never, addressOf(address) as never)).toBe(expected)
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('URLs', () => {
  test('every spelling of a forbidden IPv4 address is refused', () => {
    const guard = new Guard()
    let count = 0
    for (const address of forbidden.filter((each) => !each.includes(':'))) {
      for (const spelling of spellings(address)) {
        for (const protocol of ['http', 'https']) {
          const url = `${protocol}://${spelling}:8080/path`
          expect(() => guard.check(new URL(url)), url).toThrow(/refused|Invalid URL/)
          count++
        }
      }
    }
    expect(count).toBeGreaterThan(1_000)
  })

  test('every forbidden IPv6 address is refused', () => {
    const guard = new Guard()
    for (const address of forbidden.filter((each) => each.includes(':'))) {
      expect(() => guard.check(new URL(`http://[${address}]/`)), address).toThrow(/is refused/)
      expect(() => guard.check(new URL(`http://[${address.toUpperCase()}]:81/`)), address).toThrow(
        /is refused/,
      )
    }
  })

  test('other schemes and credentials are refused', () => {
    const guard = new Guard(['0.0.0.0/0', '::/0', 'example.com'])
    const urls = ['file:///etc/passwd', 'ftp://example.com/', 'gopher://example.com/', 'data:text/plain,x', 'ws://example.com/',
      'unix:/var/run/docker.sock', 'javascript:alert(1)', 'http://user@example.com/', 'http://user:pass@example.com/',
      'https://:pass@example.com/', 'http://example.com@10.0.0.1/'] // biome-ignore format: one block
    for (const url of urls)
      expect(() => guard.check(new URL(url)), url).toThrow(
        expect.objectContaining({ code: 'ADDRESS_REFUSED' }),
      )
  })

  test('what is refused is not spelt out with its secrets', () => {
    const guard = new Guard()
    expect(() => guard.check(new URL('http://user:hunter2@example.com/?token=abc'))).toThrow(
      /^(?!.*(hunter2|abc))/,
    )
    expect(() => guard.check(new URL('http://10.0.0.1/path?token=abc'))).toThrow(/^(?!.*(path|abc))/)
  })

  test('public addresses and names pass', () => {
    const guard = new Guard()
    for (const url of [
      'http://8.8.8.8/',
      'https://example.com/a?b',
      'http://[2606:4700:4700::1111]/',
      'http://134744072/',
    ])
      expect(() => guard.check(new URL(url)), url).not.toThrow()
  })
})

describe('names', () => {
  test('a name that leads to a forbidden address is refused where the connection is made, however many others it has', async () => {
    for (const address of forbidden) {
      for (const answer of [[address], ['8.8.8.8', address], [address, '8.8.8.8']]) {
        const guard = new Guard([], resolver(answer))
        await expect(resolved(guard, 'innocent.example'), address).rejects.toMatchObject({
          code: 'ADDRESS_REFUSED',
        })
        await expect(resolved(guard, 'innocent.example', false), address).rejects.toMatchObject({
          code: 'ADDRESS_REFUSED',
        })
      }
    }
  })

  test('what is connected to is what was looked at: a name that rebinds is asked once a connection', async () => {
    const lookup = resolver(['8.8.8.8'], ['127.0.0.1'])
    const guard = new Guard([], lookup)
    expect(await resolved(guard, 'rebinding.example')).toEqual([{ address: '8.8.8.8', family: 4 }])
    expect(lookup.asked).toBe(1)
    await expect(resolved(guard, 'rebinding.example')).rejects.toMatchObject({ code: 'ADDRESS_REFUSED' })
  })

  test('node asks for one address or for all', async () => {
    expect(await resolved(new Guard([], resolver(['8.8.8.8', '1.1.1.1'])), 'a.example', false)).toBe(
      '8.8.8.8',
    )
    await expect(resolved(new Guard([], resolver([])), 'a.example')).rejects.toThrow(
      /a name without an address/,
    )
  })

  test('the system’s resolver knows localhost, in whatever spelling', async () => {
    for (const host of ['localhost', 'LOCALHOST'])
      await expect(resolved(new Guard(), host), host).rejects.toMatchObject({ code: 'ADDRESS_REFUSED' })
  })
})

describe('allow', () => {
  test('opens addresses and ranges, and nothing beside them', () => {
    const guard = new Guard(['10.1.0.0/16', '127.0.0.1', 'fd00::/8', '[::1]'])
    for (const url of [
      'http://10.1.2.3/',
      'http://127.0.0.1:1/',
      'http://[fd12::1]/',
      'http://[::1]/',
      'http://[::ffff:10.1.0.1]/',
    ])
      expect(() => guard.check(new URL(url)), url).not.toThrow()
    for (const url of [
      'http://10.2.0.1/',
      'http://127.0.0.2/',
      'http://[fc00::1]/',
      'http://[::]/',
      'http://[::ffff:10.2.0.1]/',
    ])
      expect(() => guard.check(new URL(url)), url).toThrow(/is refused/)
  })

  test('opens hosts by name, wherever they lead', async () => {
    const guard = new Guard(['hooks.internal', '*.svc.local'], resolver(['10.0.0.1']))
    for (const host of [
      'hooks.internal',
      'HOOKS.internal',
      'hooks.internal.',
      'a.svc.local',
      'a.b.svc.local',
    ])
      expect(await resolved(guard, host), host).toEqual([{ address: '10.0.0.1', family: 4 }])
    for (const host of [
      'svc.local',
      'nothooks.internal',
      'a.hooks.internal',
      'asvc.local',
      'hooks.internal.example',
    ])
      await expect(resolved(guard, host), host).rejects.toMatchObject({ code: 'ADDRESS_REFUSED' })
  })

  test('refuses what it can’t understand', () => {
    for (const allow of ['http://a.example', '10.0.0.0/33', 'a b', '', '*', 'fd00::/129', 7, null])
      expect(() => new Guard([allow as string]), String(allow)).toThrow(/allow must be a list/)
    expect(() => new Guard('10.0.0.0/8' as unknown as string[])).toThrow(/allow must be a list/)
  })
})
