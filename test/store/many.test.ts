/** @module-tag thorough */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openStore } from '#layerstack/index.js'
import { imageOf, layerTar, writeArchive } from './archive.js'

const MANY = 300
/** Fewer than `MANY`, but enough for Node to load the modules. */
const DESCRIPTORS = 250

let scratch: string

beforeEach(() => {
  scratch = mkdtempSync(join(tmpdir(), 'layerstack-many-'))
})

afterEach(() => rmSync(scratch, { recursive: true, force: true }))

describe('Store with more containers than the process may have open files', () => {
  it('lists and checks its containers and creates another', async () => {
    const archive = join(scratch, 'image.tar')
    await writeArchive(archive, imageOf([await layerTar([])]))
    const root = join(scratch, 'root')
    await using store = await openStore({ root, driver: 'overlay2', engine: 'userspace' })
    const [image] = await store.load(archive)
    for (let index = 0; index < MANY; index++) {
      await (await store.createContainer(image?.id ?? '', { name: `container${index}` })).unmount()
    }
    const output = withFewDescriptors(`
      const { openStore } = await import('#layerstack/index.js')
      const store = await openStore({ root: ${JSON.stringify(root)} })
      const container = await store.createContainer('${image?.id}', { name: 'another' })
      await container.unmount()
      console.log((await store.containers()).length, (await store.check()).clean)
      await store.close()
    `)
    expect(output.trim()).toBe(`${MANY + 1} true`)
  })
})

function withFewDescriptors(script: string): string {
  const command = `ulimit -n ${DESCRIPTORS} && exec "$0" --input-type=module -e "$1"`
  return execFileSync('sh', ['-c', command, process.execPath, script], { encoding: 'utf8' })
}
