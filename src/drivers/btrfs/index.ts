/**
 * The driver `btrfs`, for a registry of your own and for the conformance suite.
 * @module
 */
import { join } from 'node:path'
import { StoreError } from '../../errors.js'
import { hasCapability } from '../../sys/capabilities.js'
import { quotaEnabled } from '../../sys/btrfs-quota.js'
import { fileSystemOf } from '../../sys/file-system.js'
import { libcAvailable } from '../../sys/libc.js'
import { probe } from '../../sys/probe.js'
import type { Driver, Engine } from '../driver.js'
import type { DriverFactory, DriverOpenOptions, DriverSupport } from '../factory.js'
import { attributeSettingsOf, attributeRows, type AttributeOptions } from '../attribute-mode.js'
import { LayerHolds } from '../layer-holds.js'
import { naiveDiff } from '../naive-diff.js'
import { VolumeDriver } from '../volume-driver.js'
import { BtrfsDriver, type BtrfsSettings } from './kernel/btrfs-driver.js'
import { BtrfsLayout } from './kernel/layout.js'
import { Loopback } from './kernel/loopback.js'
import { btrfsOptions } from './options.js'
import { BtrfsVolumes, holdsVolumes } from './userspace.js'

/** Docker's btrfs: every layer is a subvolume, a snapshot of its parent. */
export const btrfs: DriverFactory = {
  name: 'btrfs',

  async open(options: DriverOpenOptions): Promise<Driver> {
    const { root, readOnly, driverOptions } = options
    const { attributes, cache, loopbackSize, mountFlags, namesMountFlags } = btrfsOptions(driverOptions)
    const home = join(root, 'btrfs')
    const isLoopback = loopbackSize !== undefined || Loopback.isIn(root)
    if ((await engineFor(options, isLoopback)) === 'userspace') {
      if (attributes !== undefined && attributes !== 'native') throw keptAside(attributes)
      const volumes = new BtrfsVolumes({ home, readOnly, cache })
      const holds = new LayerHolds(join(root, 'layerstack', 'holds', 'btrfs'))
      return naiveDiff(await VolumeDriver.open({ name: 'btrfs', volumes, holds, readOnly }))
    }
    if (namesMountFlags && !isLoopback) throw mountsNothing()
    const loopback = isLoopback ? new Loopback({ root, readOnly, size: loopbackSize, mountFlags }) : undefined
    await loopback?.attach()
    try {
      return naiveDiff(await openKernel({ root, readOnly, attributes, loopback }))
    } catch (error) {
      await loopback?.detach()
      throw error
    }
  },

  async holdsLayers(root: string): Promise<boolean> {
    return (await madeBy(root)) !== undefined
  },

  async supported(root: string): Promise<DriverSupport> {
    const reason = Loopback.isIn(root) ? Loopback.whyNot() : whyNot(root)
    return {
      engines: [
        { engine: 'kernel', works: reason === undefined, reason },
        { engine: 'userspace', works: true },
      ],
    }
  },
}

interface KernelSettings extends Pick<BtrfsSettings, 'root' | 'readOnly' | 'loopback'> {
  readonly attributes: AttributeOptions['attributes']
}

async function openKernel({ root, readOnly, attributes, loopback }: KernelSettings): Promise<BtrfsDriver> {
  const layout = new BtrfsLayout(join(root, 'btrfs'))
  if (!readOnly) await layout.make()
  const tried = readOnly ? undefined : probe(layout.home)
  const attributeSettings = await attributeSettingsOf({
    root,
    driver: 'btrfs',
    holdsLayers: layout.holdsLayers(),
    probe: tried,
    wanted: attributes,
    overlay: false,
  })
  const searches = hasCapability('CAP_SYS_ADMIN')
  const quota = searches && quotaEnabled(loopback === undefined ? root : layout.home)
  const rows = attributeRows(attributeSettings, tried)
  const driver = new BtrfsDriver({
    root,
    layout,
    attributeSettings,
    attributeRows: rows,
    readOnly,
    loopback,
    searches,
    quota,
  })
  if (!readOnly) await driver.tidy()
  return driver
}

function mountsNothing(): StoreError {
  return new StoreError(
    'ENGINE_UNSUPPORTED',
    'mountFlags has no effect: the subvolumes are directories of a btrfs that the host has already mounted',
    { hint: 'mount that file system with these flags, or use a loopback' },
  )
}

/** Returns the engine that made the layers of this root. */
async function madeBy(root: string): Promise<Engine | undefined> {
  const home = join(root, 'btrfs')
  if (await holdsVolumes(home)) return 'userspace'
  return Loopback.isIn(root) || new BtrfsLayout(home).holdsLayers() ? 'kernel' : undefined
}

/**
 * Returns the engine that made the layers of this root. In a new root, the kernel engine if it works or a loopback is
 * requested, else the userspace engine.
 */
async function engineFor({ root, engine }: DriverOpenOptions, isLoopback: boolean): Promise<Engine> {
  const made = await madeBy(root)
  const reason = isLoopback ? Loopback.whyNot() : whyNot(root)
  const best = made ?? (isLoopback || reason === undefined ? 'kernel' : 'userspace')
  const chosen = engine === 'auto' ? best : engine
  if (isLoopback && made === 'kernel' && !Loopback.isIn(root)) {
    throw new StoreError(
      'ENGINE_UNSUPPORTED',
      'the layers of this root are on its own file system, not in a loopback file',
      {
        hint: 'leave loopback out, or make a new root',
      },
    )
  }
  if (made !== undefined && chosen !== made) {
    throw new StoreError('ENGINE_UNSUPPORTED', `the layers of this root were made by the ${made} engine`, {
      hint: `open it with engine '${made}', or make a new root`,
    })
  }
  if (chosen === 'userspace' && isLoopback) {
    throw new StoreError('ENGINE_UNSUPPORTED', 'the userspace engine does not support loopback', {
      hint: "leave loopback out, since this engine keeps its layers in one file anyway; or use engine 'kernel'",
    })
  }
  if (chosen === 'kernel' && reason !== undefined)
    throw new StoreError('ENGINE_UNSUPPORTED', reason, { hint: KERNEL_HINT })
  return chosen
}

const KERNEL_HINT =
  "put the root on a btrfs file system; or, as root, use driverOptions: { loopback: { size: '20G' } }; or engine 'userspace'"

function keptAside(attributes: string): StoreError {
  return new StoreError(
    'ENGINE_UNSUPPORTED',
    `the userspace engine does not support attributes '${attributes}'`,
    {
      hint: 'leave attributes out: the layers of this engine have inodes of their own',
    },
  )
}

function whyNot(root: string): string | undefined {
  const libc = libcAvailable()
  if (!libc.works) return `the kernel engine needs native system calls (${libc.reason})`
  const { name } = fileSystemOf(root)
  return name === 'btrfs'
    ? undefined
    : `the root is on ${name}, and the kernel engine needs a btrfs file system`
}
