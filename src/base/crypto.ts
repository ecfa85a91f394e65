// Node's crypto, loaded when it is first needed: it takes a process as long as a third of what an import of this package does.

let loaded: typeof import('node:crypto') | undefined

export function nodeCrypto(): typeof import('node:crypto') {
  loaded ??= process.getBuiltinModule('node:crypto')
  return loaded
}
