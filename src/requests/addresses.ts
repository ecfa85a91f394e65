// Tells addresses of the open internet from all others: private, local, metadata, reserved, in IPv4 and in every form of IPv6.

/** An address as its bits: 32 of IPv4, 128 of IPv6. */
export interface Address {
  readonly bits: bigint
  readonly size: 32 | 128
}

export interface Range extends Address {
  readonly prefix: number
}

// Read here rather than by node:net, which every import of the library would load.
const PART = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const IPV4 = new RegExp(`^${PART}(?:\\.${PART}){3}$`)

// IANA's registry of special-purpose addresses, and the one platform address that lies among the public ones.
const REFUSED_IPV4 = ranges({
  'the unspecified network': ['0.0.0.0/8'],
  'a private address': ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'],
  'an address within a provider’s network (CGNAT)': ['100.64.0.0/10'],
  'a loopback address': ['127.0.0.0/8'],
  'a link-local address, where clouds keep their metadata': ['169.254.0.0/16'],
  'a cloud platform’s own address': ['168.63.129.16/32'],
  'an address for protocols': ['192.0.0.0/24', '192.88.99.0/24'],
  'an address for tests and documents': [
    '192.0.2.0/24',
    '198.18.0.0/15',
    '198.51.100.0/24',
    '203.0.113.0/24',
  ],
  'a multicast address': ['224.0.0.0/4'],
  'a reserved or broadcast address': ['240.0.0.0/4'],
})

// Within 2000::/3, outside of which nothing of IPv6 is public.
const PUBLIC_IPV6 = range('2000::/3')
const REFUSED_IPV6 = ranges({
  'an IPv6 address for protocols or tunnels': ['2001::/23', '2002::/16'],
  'an address for documents': ['2001:db8::/32', '3fff::/20'],
})
const LOCAL_IPV6 = ranges({
  'the unspecified address': ['::/128'],
  'a loopback address': ['::1/128'],
  'a private address': ['fc00::/7', 'fec0::/10'],
  'a link-local address': ['fe80::/10'],
  'a multicast address': ['ff00::/8'],
})

// Where an IPv4 address stands in the last 32 bits and is what is really reached.
const MAPPED = range('::ffff:0:0/96')
const NAT64 = range('64:ff9b::/96')

/** Why this address is not one of the open internet; undefined when it is. Text that is no address at all is refused too. */
export function refusalOf(text: string): string | undefined {
  const address = addressOf(text)
  return address === undefined ? 'no IP address' : refusalOfAddress(address)
}

function refusalOfAddress(address: Address): string | undefined {
  if (address.size === 32) return REFUSED_IPV4.find(({ range }) => contains(range, address))?.what
  if (contains(MAPPED, address) || contains(NAT64, address)) {
    const inner = refusalOfAddress({ bits: address.bits & 0xffff_ffffn, size: 32 })
    return inner === undefined ? undefined : `${inner}, written as IPv6`
  }
  const local = LOCAL_IPV6.find(({ range }) => contains(range, address))
  if (local !== undefined) return local.what
  if (!contains(PUBLIC_IPV6, address)) return 'an IPv6 address outside of the public ones'
  return REFUSED_IPV6.find(({ range }) => contains(range, address))?.what
}

/** Undefined for what is no address in the usual spelling; a zone (fe80::1%eth0) is left out. */
export function addressOf(text: string): Address | undefined {
  const bits = bitsOfIPv4(text)
  if (bits !== undefined) return { bits, size: 32 }
  const wide = bitsOfIPv6(text.replace(/%[\w.-]+$/, ''))
  return wide === undefined ? undefined : { bits: wide, size: 128 }
}

/** '10.0.0.0/8', or one address. Undefined for anything else. */
export function rangeOf(text: string): Range | undefined {
  const [head = '', tail, ...rest] = text.split('/')
  const address = addressOf(head)
  if (address === undefined || rest.length > 0) return undefined
  if (tail === undefined) return { ...address, prefix: address.size }
  const prefix = /^\d{1,3}$/.test(tail) ? Number(tail) : Number.NaN
  return prefix <= address.size ? { ...address, prefix } : undefined
}

/** A mapped address counts as the IPv4 address that it is. */
export function contains(range: Range, address: Address): boolean {
  const inner = range.size === 32 && address.size === 128 ? unmapped(address) : address
  if (inner === undefined || inner.size !== range.size) return false
  const rest = BigInt(range.size - range.prefix)
  return inner.bits >> rest === range.bits >> rest
}

function unmapped(address: Address): Address | undefined {
  return contains(MAPPED, address) ? { bits: address.bits & 0xffff_ffffn, size: 32 } : undefined
}

function bitsOfIPv4(text: string): bigint | undefined {
  if (!IPV4.test(text)) return undefined
  return text.split('.').reduce((bits, part) => (bits << 8n) | BigInt(part), 0n)
}

function bitsOfIPv6(text: string): bigint | undefined {
  // The dotted end that some forms have, as the two groups that it stands for.
  const plain = text.replace(/(?<=:)\d[\d.]*\.\d+$/, (dotted) => {
    const bits = bitsOfIPv4(dotted)
    return bits === undefined ? dotted : `${(bits >> 16n).toString(16)}:${(bits & 0xffffn).toString(16)}`
  })
  const [head = '', tail, ...more] = plain.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const before = groups(head)
  const after = groups(tail ?? '')
  const gap = 8 - before.length - after.length
  const fits = more.length === 0 && (tail === undefined ? gap === 0 : gap >= 1)
  if (!fits || ![...before, ...after].every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined
  const zeros = Array.from({ length: gap }, () => '0')
  return [...before, ...zeros, ...after].reduce((bits, group) => (bits << 16n) | BigInt(`0x${group}`), 0n)
}

function range(text: string): Range {
  return rangeOf(text) as Range
}

function ranges(table: Record<string, readonly string[]>): { what: string; range: Range }[] {
  return Object.entries(table).flatMap(([what, texts]) => texts.map((text) => ({ what, range: range(text) })))
}
