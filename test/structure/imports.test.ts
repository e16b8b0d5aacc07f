/** @module-tag unit */
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { brokenRules } from './import-rules.js'
import { importsBelow, importsOf } from './module-imports.js'

const project = resolve(import.meta.dirname, '../..')

describe('imports in src', () => {
  const imports = importsBelow(project, 'src')

  it('include a package, a sibling room and a lower room', () => {
    const found = imports.map(({ file, target }) => `${file} → ${target}`)
    expect(found).toContain('src/sys/libc.ts → koffi')
    expect(found).toContain('src/durable/lock.ts → src/sys/flock.ts')
    expect(found).toContain('src/fs/host/host-fs.ts → src/sys/xattr.ts')
  })

  it('lead to lower floors and have no cycles', () => {
    const wrong = brokenRules(imports)
    expect(wrong, `\n${wrong.join('\n')}\n`).toEqual([])
  })
})

describe('import rules', () => {
  it('report an import from a higher floor with its file and line', () => {
    expect(broken(['src/fs/walk.ts', "// first\nimport {\n  store,\n} from '../store.js'\n"])).toEqual([
      "src/fs/walk.ts:4  fs is below store\n    } from '../store.js'",
    ])
    expect(broken(['src/tar/reader.ts', "export type { Layer } from '../layers/layer.js'"])).toHaveLength(1)
    expect(broken(['src/tar/reader.ts', "const late = await import('../layers/layer.js')"])).toHaveLength(1)
    expect(broken(['src/layers/layer.ts', "import { read } from '../tar/reader.js'"])).toEqual([])
  })

  it('forbid imports of a driver by another driver and by shared code of drivers', () => {
    const inDriver = "import { Layout } from '../vfs/layout.js'"
    expect(broken(['src/drivers/btrfs/index.ts', inDriver])[0]).toContain('driver btrfs imports driver vfs')
    expect(broken(['src/drivers/select.ts', "import { vfs } from './vfs/index.js'"])).toHaveLength(1)
    expect(broken(['src/drivers/vfs/index.ts', "import type { Driver } from '../driver.js'"])).toEqual([])
    expect(broken(['src/index.ts', "export { vfs } from './drivers/vfs/index.js'"])).toEqual([])
  })

  it('forbid imports of drivers by the conformance suite, and of the suite by drivers', () => {
    const named = "import { vfs } from '../drivers/vfs/index.js'"
    expect(broken(['src/conformance/suite.ts', named])[0]).toContain('conformance does not know vfs')
    const contract = "import type { Driver } from '../drivers/driver.js'"
    expect(broken(['src/conformance/suite.ts', contract])).toEqual([])
    expect(broken(['src/drivers/select.ts', "import '../conformance/suite.js'"])).toHaveLength(1)
  })

  it('forbid every form of import of koffi outside of sys', () => {
    for (const source of [
      "import koffi from 'koffi'",
      "import 'koffi'",
      "await import('koffi')",
      "createRequire(import.meta.url)('koffi')",
    ]) {
      expect(broken(['src/fs/host-fs.ts', source]), source).toHaveLength(1)
      expect(broken(['src/sys/libc.ts', source]), source).toEqual([])
    }
  })

  it('forbid import cycles of files, folders and rooms', () => {
    expect(
      broken(
        ['src/fs/a.ts', "import './b.js'"],
        ['src/fs/b.ts', "import './c.js'"],
        ['src/fs/c.ts', "import './a.js'"],
      ),
    ).toEqual([
      "src/fs/c.ts:1  a circle: src/fs/a.ts → src/fs/b.ts → src/fs/c.ts → src/fs/a.ts\n    import './a.js'",
    ])
    expect(
      broken(
        ['src/fs/a.ts', "import type { D } from './d.js'"],
        ['src/fs/d.ts', "import type { A } from './a.js'"],
      ),
    ).toHaveLength(1)
    expect(
      broken(
        ['src/fs/union/a.ts', "import '../host/b.js'"],
        ['src/fs/host/c.ts', "import '../union/d.js'"],
      )[0],
    ).toContain('a circle: fs/union → fs/host → fs/union')
    expect(
      broken(
        ['src/images/image.ts', "import '../references/reference.js'"],
        ['src/references/store.ts', "import '../images/config.js'"],
      )[0],
    ).toContain('a circle: images → references → images')
  })

  it('require a floor for every room', () => {
    expect(broken(['src/attic/box.ts', "import '../errors.js'"])[0]).toContain('attic has no floor')
  })

  it('ignore imports in comments', () => {
    expect(broken(['src/fs/walk.ts', "/** import '../store.js' */ // import '../index.js'\n"])).toEqual([])
  })
})

function broken(...files: readonly [file: string, source: string][]): string[] {
  return brokenRules(files.flatMap(([file, source]) => importsOf(file, source)))
}
