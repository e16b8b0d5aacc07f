/** @module-tag thorough */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { snippetsOf, type Snippet } from './snippets.js'

const project = resolve(import.meta.dirname, '../..')
const pages = ['README.md', ...markdownBelow('docs')]
const sources = readdirSync(join(project, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join('src', name))
const snippets = [...pages, ...sources].flatMap((file) => snippetsOf(project, file))
/** Inside the project, so that `layerstack` resolves to this package. */
const build = join(project, 'test', 'docs', `.snippets-${process.pid}`)

/** Limits a snippet that runs the conformance suite with node:test. `test/conformance` runs all cases. */
const A_FEW = '--test-name-pattern=empty layer'

beforeAll(() => {
  mkdirSync(build)
  for (const [index, snippet] of snippets.entries()) {
    writeFileSync(join(build, `snippet-${index}.ts`), programOf(snippet))
  }
  const compilerOptions = {
    rootDir: '../..',
    paths: {},
    outDir: 'out',
    noEmit: false,
    noUnusedLocals: false,
    noUncheckedIndexedAccess: false,
  }
  writeFileSync(
    join(build, 'tsconfig.json'),
    JSON.stringify({ extends: '../../../tsconfig.json', compilerOptions, include: ['*.ts'] }),
  )
  const { status, stdout } = spawnSync(join(project, 'node_modules/.bin/tsc'), ['-p', build], {
    encoding: 'utf8',
  })
  expect(status, stdout).toBe(0)
})

afterAll(() => rmSync(build, { recursive: true, force: true }))

describe('snippet compiles and runs:', () => {
  it.each(snippets.map(({ location }, index) => [location, index] as const))('%s', (_location, index) => {
    const directory = mkdtempSync(join(tmpdir(), 'layerstack-snippet-'))
    try {
      const program = join(build, 'out', 'docs', `.snippets-${process.pid}`, `snippet-${index}.js`)
      execFileSync(process.execPath, [A_FEW, program], { cwd: directory, stdio: 'pipe' })
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })
})

it('snippetsOf() finds the snippets of the README and each `@example` of the source', () => {
  expect(snippets.filter(({ location }) => location.startsWith('README.md')).length).toBeGreaterThan(5)
  const examples = sources
    .map((file) => readFileSync(join(project, file), 'utf8').split('@example').length - 1)
    .reduce((sum, count) => sum + count, 0)
  expect(snippets.filter(({ location }) => location.startsWith('src/'))).toHaveLength(examples)
})

/** Adds the values of `given()`. The block lets a snippet declare the same names. */
function programOf({ code }: Snippet): string {
  const imports = /^import .*\n/gm
  const body = code.replaceAll(imports, '')
  const found = [...code.matchAll(imports)].join('')
  return `import { given } from '../given.js'
${found}
const { store, container, driver, baseTar, appTar } = await given()
{
${body}
}
await container.unmount()
await store.close()
await driver.cleanup()
`
}

function markdownBelow(folder: string): string[] {
  try {
    return readdirSync(join(project, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `${folder}/${name}`)
  } catch {
    return []
  }
}
