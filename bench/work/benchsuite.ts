import { randomBytes } from 'node:crypto'
import { mkdirSync, renameSync, rmdirSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Driver } from 'layerstack'
import { mountOverlay } from '#layerstack/sys/mount-overlay.js'
import { unmountIfMounted } from '#layerstack/sys/mount.js'
import type { Clock } from '../clock.js'
import { hostFiles, type Files } from '../files.js'
import { content, MIB } from '../inputs.js'
import { task, type Workspace, type Task, type Workload } from '../workload.js'

const LAYERS = 16
const MEBIBYTE = content(MIB)

/**
 * containerd's benchmark of snapshotters (`snapshots/benchsuite`): a stack of 16 layers, with ten operations on 1 MiB
 * files in each. Its phases are prepare, write (including mount and unmount) and commit.
 */
export const benchsuite: Workload = {
  name: 'containerd/benchsuite',
  about:
    'build a stack of 16 layers; each layer creates, removes, or writes 4 bytes in the middle of ten 1 MiB files',
  heavy: true,
  depth: LAYERS,
  onMount: true,
  space: LAYERS * 20 * MIB,
  driver: async (workspace) => {
    const driver = await workspace.openDriver()
    return task(
      async (clock) => {
        const made: string[] = []
        for (let index = 1; index <= LAYERS; index++) {
          const [id, committed] = [`prepare${index}`, `committed${index}`]
          await clock.phase('prepare', () => driver.createReadWrite(id, made.at(-1)))
          await clock.phase('write', async () => {
            const view = await driver.get(id)
            await edit(
              workspace.contender.through === 'mount' ? hostFiles(view.hostPath as string) : view.fs,
              index,
            )
            await driver.put(id)
          })
          await clock.phase('commit', () => commitLayer(driver, id, committed, made.at(-1)))
          made.push(committed)
        }
        for (const id of made.toReversed()) await driver.remove(id)
      },
      () => driver.cleanup(),
    )
  },
  floors: { 'mkdir + mount + umount + rename': bareOverlays },
}

/** Turns a writable layer into a read-only one. A driver without `adopt` unpacks its tar instead. */
async function commitLayer(
  driver: Driver,
  id: string,
  committed: string,
  parent: string | undefined,
): Promise<void> {
  if (driver.adopt !== undefined) return driver.adopt(id, committed)
  await driver.create(committed, parent)
  await driver.applyDiff(committed, parent, driver.diff(id, parent))
  await driver.remove(id)
}

async function bareOverlays({ directory }: Workspace): Promise<Task> {
  return task(async (clock: Clock) => {
    const top = join(directory, 'layers')
    await mkdir(top)
    const lowers: string[] = []
    for (let index = 1; index <= LAYERS; index++) {
      const at = join(top, `p${index}`)
      const [upper, work, merged] = [join(at, 'fs'), join(at, 'work'), join(at, 'm')]
      await clock.phase('prepare', () => {
        for (const path of [at, upper, work, merged]) mkdirSync(path)
      })
      await clock.phase('write', async () => {
        // overlayfs cannot be mounted without a lower directory.
        const isMounted = lowers.length > 0
        if (isMounted) mountOverlay(merged, { lowers, upper, work })
        await edit(hostFiles(isMounted ? merged : upper), index)
        if (isMounted) unmountIfMounted(merged)
      })
      const committed = join(top, `c${index}`)
      await clock.phase('commit', () => {
        renameSync(at, committed)
        rmdirSync(join(committed, 'm'))
      })
      lowers.unshift(join(committed, 'fs'))
    }
    await rm(top, { recursive: true })
  })
}

/** Performs the operations of containerd's `makeApplier` for one layer. */
async function edit(files: Files, index: number): Promise<void> {
  for (const [position, operation] of [...operationsOf(index)].entries()) {
    const path = `/${'abcdefghij'[position] as string}`
    if (operation === 'create') await files.writeFile(path, MEBIBYTE)
    else if (operation === 'remove') await files.rm(path, { recursive: true, force: true })
    else await update(files, path)
  }
}

type Operation = 'create' | 'update' | 'remove'

const OPERATIONS: Readonly<Record<string, Operation>> = { c: 'create', u: 'update', r: 'remove' }

/** Returns the operations on `/a` to `/j`. */
function operationsOf(index: number): Operation[] {
  const line = index % 3 === 0 ? 'uucuucrcuc' : index % 2 === 0 ? 'ucrcurcucu' : 'cccccccccc'
  return [...line].map((letter) => OPERATIONS[letter] as Operation)
}

async function update(files: Files, path: string): Promise<void> {
  const file = await files.open(path, 'r+')
  await file.write(randomBytes(4), 0, 4, MIB / 2)
  await file.close()
}
