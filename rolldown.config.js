// Puts the sources into as few files as their entries need: to import sixty by themselves took a process twice as long.
import { readFileSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { defineConfig } from 'rolldown'

const { exports, bin } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'))
const published = [...Object.values(exports).map((each) => each.default), ...Object.values(bin)]
const entries = published.filter(Boolean).map((file) => file.replace(/^(\.\/)?dist\/|\.js$/g, ''))
// The demo starts its worker as a process, by the name of the file that lies beside its own.
entries.push('src/demo/index', 'src/demo/worker')

export default defineConfig({
  input: Object.fromEntries(entries.map((entry) => [entry, `${entry}.ts`])),
  platform: 'node',
  // Packages are the installation's business.
  external: (id) => !id.startsWith('.') && !isAbsolute(id),
  transform: { target: 'node20.19' },
  output: {
    dir: 'dist',
    chunkFileNames: 'src/parts/[name]-[hash].js',
    // What an import of the package needs.
    codeSplitting: {
      groups: [
        {
          name: 'core',
          test: /[\\/]src[\\/]((base|values|signing|contract|tasks|dispatch|publish|results|worker)[\\/])?[\w-]+\.ts$/,
        },
      ],
    },
  },
  // What one part loads only when it is needed may be at hand in another.
  checks: { ineffectiveDynamicImport: false },
})
