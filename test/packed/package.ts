// Installs the packed package into an empty folder, as a user has it, and runs programs there.
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

export interface Installed {
  folder: string
  /** Copies files of the repository into the folder. */
  copy(...paths: string[]): Promise<void>
  write(name: string, text: string): Promise<void>
  /** Compiles every .ts file of the folder with `strict`. */
  compile(): Promise<void>
  /** Runs a compiled file by Node's test runner; answers its report. */
  test(file: string): Promise<string>
  remove(): Promise<void>
}

/** `npm run build` must have been run: `npm test` does so first. */
export async function install(): Promise<Installed> {
  const folder = await mkdtemp(join(tmpdir(), 'deferq-packed-'))
  const modules = join(folder, 'node_modules')
  await mkdir(modules)
  const packed = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
    cwd: ROOT,
    maxBuffer: 16 * 1_048_576,
  })
  const [{ filename }] = JSON.parse(packed.stdout) as [{ filename: string }]
  await run('tar', ['-xzf', join(folder, filename), '-C', folder])
  await cp(join(folder, 'package'), join(modules, 'deferq'), { recursive: true })
  // The dependencies are those of this repository: nothing is downloaded.
  for (const name of await readdir(join(ROOT, 'node_modules'))) {
    if (name.startsWith('.') || name === 'deferq') continue
    await symlink(join(ROOT, 'node_modules', name), join(modules, name))
  }
  await writeFile(join(folder, 'package.json'), '{ "type": "module", "private": true }')
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        target: 'es2023',
        lib: ['es2023'],
        module: 'nodenext',
        strict: true,
        skipLibCheck: false,
        outDir: 'out',
        rootDir: '.',
        types: ['node'],
      },
      include: ['*.ts'],
    }),
  )
  return {
    folder,
    copy: async (...paths) => {
      for (const path of paths) await cp(join(ROOT, path), join(folder, path.split('/').at(-1) as string))
    },
    write: (name, text) => writeFile(join(folder, name), text),
    compile: async () => {
      const tsc = join(ROOT, 'node_modules/.bin/tsc')
      await run(tsc, ['--project', folder, '--pretty', 'false'], { cwd: folder }).catch((error) => {
        throw new Error(`The example does not compile:\n${(error as { stdout: string }).stdout}`)
      })
    },
    test: async (file) => {
      const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...env } = process.env
      const { stdout } = await run(process.execPath, ['--test', '--test-reporter=tap', join('out', file)], {
        cwd: folder,
        env,
        maxBuffer: 64 * 1_048_576,
      }).catch((error) => ({ stdout: (error as { stdout: string }).stdout }))
      return stdout
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}
