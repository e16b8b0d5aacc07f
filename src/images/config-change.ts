import { StoreError } from '../errors.js'
import type { ContainerConfig } from './image-config.js'

type Edit = (config: ContainerConfig, argument: string) => ContainerConfig

/**
 * Applies Dockerfile-style edits, as in `docker commit --change`: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD,
 * STOPSIGNAL, USER, VOLUME, WORKDIR. Throws `CHANGE_INVALID`.
 */
export function applyChanges(config: ContainerConfig, changes: readonly string[]): ContainerConfig {
  let changed = config
  for (const change of changes) {
    const [, instruction = '', argument = ''] = /^\s*(\S+)\s*([\s\S]*)$/.exec(change) ?? []
    const edit = EDITS[instruction.toUpperCase()]
    if (edit === undefined || argument.trim() === '') throw invalid(change)
    changed = edit(changed, argument.trim())
  }
  return changed
}

const EDITS: Readonly<Record<string, Edit>> = {
  CMD: (config, argument) => ({ ...config, Cmd: command(config, argument) }),
  ENTRYPOINT: (config, argument) => ({ ...config, Entrypoint: command(config, argument) }),
  ENV: (config, argument) => ({ ...config, Env: withEnvironment(config.Env ?? [], pairs(argument)) }),
  EXPOSE: (config, argument) => ({ ...config, ExposedPorts: { ...config.ExposedPorts, ...ports(argument) } }),
  LABEL: (config, argument) => ({
    ...config,
    Labels: { ...config.Labels, ...Object.fromEntries(pairs(argument)) },
  }),
  ONBUILD: (config, argument) => ({ ...config, OnBuild: [...(config.OnBuild ?? []), argument] }),
  STOPSIGNAL: (config, argument) => ({ ...config, StopSignal: argument }),
  USER: (config, argument) => ({ ...config, User: argument }),
  VOLUME: (config, argument) => ({ ...config, Volumes: { ...config.Volumes, ...volumes(argument) } }),
  WORKDIR: (config, argument) => ({
    ...config,
    WorkingDir: workingDirectory(config.WorkingDir ?? '/', argument),
  }),
}

/** A JSON list of strings is used unchanged; anything else is a shell command line. */
function command({ Shell = ['/bin/sh', '-c'] }: ContainerConfig, argument: string): readonly string[] {
  return jsonList(argument) ?? [...Shell, argument]
}

function jsonList(argument: string): string[] | undefined {
  try {
    const list: unknown = JSON.parse(argument)
    return Array.isArray(list) && list.every((item) => typeof item === 'string') ? list : undefined
  } catch {
    return undefined
  }
}

/** `key=value key="a b"`, or the legacy form `key value`. */
function pairs(argument: string): [string, string][] {
  if (!/^[^\s"']+=/.test(argument)) {
    const [, key, value] = /^(\S+)\s+([\s\S]+)$/.exec(argument) ?? []
    if (key === undefined || value === undefined) throw invalid(argument)
    return [[key, value]]
  }
  const words = argument.match(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/g) ?? []
  return words.map((word) => {
    const equals = word.indexOf('=')
    if (equals < 1) throw invalid(argument)
    return [unquote(word.slice(0, equals)), unquote(word.slice(equals + 1))]
  })
}

function unquote(word: string): string {
  return word.replaceAll(
    /"((?:[^"\\]|\\.)*)"|'([^']*)'|\\(.)/g,
    (_all, double?: string, single?: string, escaped?: string) =>
      double === undefined ? (single ?? escaped ?? '') : double.replaceAll(/\\(["\\$])/g, '$1'),
  )
}

function withEnvironment(environment: readonly string[], changes: [string, string][]): string[] {
  const result = [...environment]
  for (const [key, value] of changes) {
    const index = result.findIndex((entry) => entry.startsWith(`${key}=`))
    if (index < 0) result.push(`${key}=${value}`)
    else result[index] = `${key}=${value}`
  }
  return result
}

function ports(argument: string): Record<string, object> {
  return Object.fromEntries(
    argument.split(/\s+/).map((port) => {
      if (!/^\d{1,5}(-\d{1,5})?(\/(tcp|udp|sctp))?$/.test(port)) throw invalid(`EXPOSE ${port}`)
      return [port.includes('/') ? port : `${port}/tcp`, {}]
    }),
  )
}

function volumes(argument: string): Record<string, object> {
  return Object.fromEntries((jsonList(argument) ?? argument.split(/\s+/)).map((path) => [path, {}]))
}

function workingDirectory(current: string, argument: string): string {
  return argument.startsWith('/') ? argument : `${current.replace(/\/$/, '')}/${argument}`
}

function invalid(change: string): StoreError {
  return new StoreError('CHANGE_INVALID', `invalid change of an image config: ${JSON.stringify(change)}`, {
    hint: 'use a Dockerfile instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR',
  })
}
