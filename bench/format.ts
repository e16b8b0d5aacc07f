/** Formats with three significant digits and a unit. */
export function seconds(value: number): string {
  if (value < 1e-8) return '0'
  if (value < 1e-3) return `${digits(value * 1e6)} µs`
  return value < 1 ? `${digits(value * 1e3)} ms` : `${digits(value)} s`
}

export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB']
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, Math.abs(value))) / 10))
  return `${digits(value / 1024 ** power)} ${units[power]}`
}

export function ratio(value: number): string {
  if (value > 0 && value < 0.001) return '<0.001×'
  return value > 0 && value < 0.1 ? `${value.toFixed(3)}×` : `${digits(value)}×`
}

export function percent(change: number): string {
  return `${change < 0 ? '−' : '+'}${Math.abs(change * 100).toFixed(0)} %`
}

/** Formats a fraction as a percentage: `3.0 %`. */
export function share(value: number): string {
  return `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`
}

function digits(value: number): string {
  const size = Math.abs(value)
  const rounded = value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2)
  return Math.abs(Math.round(value) - value) < 1e-9 ? value.toFixed(0) : rounded
}
