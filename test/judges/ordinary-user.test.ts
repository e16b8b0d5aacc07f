/** @module-tag judge */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  cpSync,
  createReadStream,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { realImage, realImageNeeds, type RealImage } from '../fixtures/real-image.js'
import { noDaemon, notInstalled, unless } from '../support/needs.js'
import { madeByInitLayer } from './known-differences.js'
import { differences, treeOf } from './tree.js'

const NOBODY = 65534
const project = resolve(import.meta.dirname, '../..')
const reason = noDaemon ?? notInstalled(...realImageNeeds, 'setpriv')

describe('a real image in a store of an ordinary user', unless(reason), () => {
  let fixture: RealImage
  let scratch: string

  beforeAll(async () => {
    fixture = await realImage()
    scratch = mkdtempSync(join(tmpdir(), 'layerstack-judges-'))
    chmodSync(scratch, 0o755)
    // A copy of the package and its dependencies that every user can read.
    for (const name of ['package.json', 'dist', 'node_modules', 'test/judges']) {
      cpSync(join(project, name), join(scratch, 'project', name), { recursive: true, dereference: true })
    }
    mkdirSync(join(scratch, 'home'))
    chownSync(join(scratch, 'home'), NOBODY, NOBODY)
  }, 900_000)

  afterAll(() => rmSync(scratch, { recursive: true, force: true }))

  it.each([
    { driver: 'overlay2', attributes: 'in xattrs', environment: {} },
    {
      driver: 'vfs',
      attributes: 'in a sidecar, without system calls',
      environment: { LAYERSTACK_NO_KOFFI: '1' },
    },
  ])(
    'exports the tree that Docker exports, with attributes $attributes, on $driver',
    async ({ driver, environment }) => {
      const home = join(scratch, 'home')
      const [root, exported] = [join(home, 'root'), join(home, 'export.tar')]
      const user = [
        `--reuid=${NOBODY}`,
        `--regid=${NOBODY}`,
        '--clear-groups',
        '--inh-caps=-all',
        '--bounding-set=-all',
      ]
      const program = [process.execPath, 'test/judges/ordinary-user.mjs', root, driver, exported]
      const said = execFileSync('setpriv', [...user, ...program], {
        cwd: join(scratch, 'project'),
        stdio: [openSync(fixture.archive, 'r'), 'pipe', 'inherit'],
        env: { ...process.env, ...environment, HOME: home },
      })
      expect(JSON.parse(said.toString())).toMatchObject({ id: fixture.inspect.Id })
      const [ours, theirs] = [
        await treeOf(createReadStream(exported)),
        await treeOf(createReadStream(fixture.exported)),
      ]
      expect(differences(ours, theirs, madeByInitLayer)).toEqual([])
      for (const path of [root, exported]) rmSync(path, { recursive: true, force: true })
    },
    300_000,
  )
})
