"""Models in and out: conversion between runs and the formats of other libraries."""
