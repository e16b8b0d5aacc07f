import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { enterDirectory } from '../support/ledger.js'
import { unmountBelow } from '../support/mounts.js'
import { noMounts, notInstalled, type Reason } from '../support/needs.js'
import { run } from '../support/program.js'

export const noBtrfs: Reason = noMounts ?? notInstalled('mkfs.btrfs', 'btrfs', 'mount', 'umount')

/** A new btrfs in a sparse file. Disposal unmounts it and runs `btrfs check`. */
export interface BtrfsFixture extends AsyncDisposable {
  /** The mount point. */
  readonly path: string
}

export async function btrfsFixture(options = 'loop', directory = tmpdir()): Promise<BtrfsFixture> {
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

/** Expects that `btrfs check` accepts the driver's loopback file, if the root has one. */
export async function expectSoundFile(root: string): Promise<void> {
  const image = join(root, 'layerstack/btrfs.img')
  if (!existsSync(image)) return
  await unmountBelow(root)
  await run('btrfs', ['check', image])
}
