import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { enterDirectory } from '../support/ledger.js'
import { unmountBelow } from '../support/mounts.js'
import { noMounts, notInstalled, type Reason } from '../support/needs.js'
import { run } from '../support/program.js'

export const noBtrfs: Reason = noMounts ?? notInstalled('mkfs.btrfs', 'btrfs', 'mount', 'umount')

/** A btrfs of our own, in a sparse file; it is checked when it is given back. */
export interface BtrfsPlace extends AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string
}

export async function btrfsPlace(options = 'loop', directory = tmpdir()): Promise<BtrfsPlace> {
  const base = mkdtempSync(join(directory, 'layerstack-btrfs-'))
  enterDirectory(base)
  const [image, path] = [join(base, 'image'), join(base, 'mount')]
  writeFileSync(image, '')
  truncateSync(image, 2 ** 30)
  await run('mkfs.btrfs', ['-q', image])
  await run('mkdir', ['-m', '755', path])
  await run('mount', ['-t', 'btrfs', '-o', options, image, path])
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      try {
        await run('umount', [path])
        await run('btrfs', ['check', image])
      } finally {
        await run('umount', ['-l', path]).catch(() => undefined)
        rmSync(base, { recursive: true, force: true })
      }
    },
  }
}

/** The file that the driver keeps its own btrfs in, if the root has one, is what `btrfs check` takes for whole. */
export async function expectSoundFile(root: string): Promise<void> {
  const image = join(root, 'layerstack/btrfs.img')
  if (!existsSync(image)) return
  await unmountBelow(root)
  await run('btrfs', ['check', image])
}
